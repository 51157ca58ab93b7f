"""Compare two servers from a shell; exit code 0: all answers are equal, 1: some differ.

python -m tests.servers.differential LOCAL REAL [--sequences 400] [--seed TEXT]

LOCAL and REAL are addresses such as http://127.0.0.1:8080/fhir. Never use a shared server: some
requests delete at random. Start a real one with `python -m tests.support.hapi_server`.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.servers.differential.server import Server
from tests.servers.differential.tester import run, shrink


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers.differential",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("local", help="address of the local FHIR server")
    parser.add_argument("real", help="address of a real HAPI server")
    parser.add_argument("--sequences", type=int, default=400)
    parser.add_argument("--seed", default="", help="any text; without it a random one")
    options = parser.parse_args()
    local, real = Server(options.local.rstrip("/")), Server(options.real.rstrip("/"))
    for server in (local, real):
        if not server.is_empty():
            sys.exit(f"Error: {server.base_url} holds resources already: give an empty server.")
    report = run(local, real, options.sequences, options.seed or secrets.token_hex(4))
    for group, example in report.groups.items():
        example.steps = shrink(example.steps, group, local, real)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    print(report.describe())
    sys.exit(bool(report.groups))


if __name__ == "__main__":
    main()
