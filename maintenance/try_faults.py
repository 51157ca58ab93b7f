"""Puts each fault of maintenance/faults.py into a copy of the template, and runs its tests.

    python -m maintenance.try_faults [words…]

With words, only the faults whose description has one of them. A fault is caught if a test fails
with it and all pass without it. Exit code 1 if a fault is not caught.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from maintenance.faults import FAULTS, Fault

REPOSITORY = Path(__file__).resolve().parents[1]


def copy_of_template(folder: Path) -> Path:
    """Copy what git tracks, with uncommitted edits, into a git repository of its own."""
    listed = subprocess.run(
        ("git", "ls-files", "-z"), cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    for path in filter(None, listed.split("\0")):
        if (REPOSITORY / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / path, folder / path)
    for step in (("init", "--quiet"), ("add", "--all", "--force")):
        subprocess.run(("git", *step), cwd=folder, check=True)
    return folder


def with_fault(text: str, fault: Fault) -> str:
    """Return the text of the fault's file with the fault. Raises ValueError if it is not there."""
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.what}: {fault.path} has not exactly one {fault.old!r}")
    return text.replace(fault.old, fault.new)


def failed_tests(repository: Path, tests: str) -> list[str]:
    """Run a file of tests until one fails; return the names of those that failed."""
    options = ("-n", "0", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=fast")
    done = subprocess.run(
        (sys.executable, "-m", "pytest", *options, tests),
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [
        line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR tests"))
    ]
    if done.returncode and not found:  # it could not even begin
        return [(done.stdout + done.stderr).strip().splitlines()[-1]]
    return found


def try_faults(repository: Path, faults: Iterable[Fault]) -> list[Fault]:
    """Try each fault, print by which test it was caught, and return those that were not."""
    survived = []
    for fault in faults:
        path = repository / fault.path
        text = path.read_text(encoding="utf-8")
        path.write_text(with_fault(text, fault), encoding="utf-8", newline="\n")
        failed = failed_tests(repository, fault.caught_by)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{fault.what}: {failed[0] if failed else 'NOT CAUGHT'}", flush=True)
        if not failed:
            survived.append(fault)
    return survived


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m maintenance.try_faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose description has one of these")
    words = parser.parse_args().words
    faults = [fault for fault in FAULTS if not words or any(word in fault.what for word in words)]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        repository = copy_of_template(Path(folder, "medplum-bots"))
        for tests in sorted({fault.caught_by for fault in faults}):
            failed = failed_tests(repository, tests)
            if failed:
                print(f"Error: {tests} fails without a fault: {failed[0]}", file=sys.stderr)
                return 1
        survived = try_faults(repository, faults)
    print(f"{len(faults) - len(survived)} of {len(faults)} faults were caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
