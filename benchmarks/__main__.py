"""Runs all benchmarks or the named ones, and prints their tables.

    python -m benchmarks [name …] [--smallest]

A full run also writes the sections of these benchmarks in RESULTS.md.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from benchmarks import NAMES, report
from benchmarks.measure import CommandError, Row, Size


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"one or more of: {', '.join(NAMES)}"
    )
    parser.add_argument(
        "--smallest", action="store_true", help="once, on the smallest size; writes nothing"
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    size: Size = "smallest" if arguments.smallest else "full"
    failed = []
    for name in arguments.names or NAMES:
        where = report.machine()
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            rows: list[Row] = importlib.import_module(f"benchmarks.{name}").run(size)
        except CommandError as error:
            failed.append(name)
            print(f"Error: {name}: {error}", file=sys.stderr)
            if os.environ.get("DEBUG"):
                raise
            continue
        print(f"\n## {name}\n\n{report.table(rows)}\n", flush=True)
        if size == "full":
            report.put(name, where, rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
