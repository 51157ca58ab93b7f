"""Makes a release of the template (`make release VERSION=1.2.0`).

`prepare` checks the repository, writes the version everywhere it stands, moves the unreleased
entries of CHANGELOG.md under it, commits, and tags the commit. It pushes nothing. `notes` prints
the entries of a version, which .github/workflows/release.yml publishes.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

VERSION = re.compile(r"\d+\.\d+\.\d+")
VERSION_LINES = {
    "template_extensions.py": re.compile(r'^(VERSION = ")([\d.]+)(")$', re.MULTILINE),
    "pyproject.toml": re.compile(r'^(version = ")([\d.]+)(")$', re.MULTILINE),
}


class ReleaseError(Exception):
    """The repository is not ready for this release; the message says why and what to do."""


def git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        ("git", *arguments), cwd=repository, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def current_version(repository: Path) -> str:
    name = "template_extensions.py"
    found = VERSION_LINES[name].search((repository / name).read_text(encoding="utf-8"))
    if not found:
        raise ReleaseError(f"{name} has no line VERSION = …")
    return found[2]


def notes(changelog: str, version: str) -> str:
    """Return the entries of a version: the lines below its heading."""
    heading = re.compile(rf"^## {re.escape(version)}(?: .*)?$", re.MULTILINE)
    found = heading.search(changelog)
    if not found:
        raise ReleaseError(f"CHANGELOG.md has no heading ## {version}")
    return changelog[found.end() :].partition("\n## ")[0].strip()


def check(repository: Path, version: str) -> None:
    """Refuse a release that would be wrong or incomplete."""
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"{version!r} is not a version; for example: 1.2.0")
    current = current_version(repository)
    as_numbers = [tuple(int(part) for part in each.split(".")) for each in (current, version)]
    if as_numbers[1] < as_numbers[0]:
        raise ReleaseError(f"{version} is older than {current}, the current version")
    if git(repository, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"the tag v{version} exists already")
    branch = git(repository, "branch", "--show-current")
    if branch != "main":
        raise ReleaseError(f"the branch is {branch or 'detached'}; releases are made on main")
    if git(repository, "status", "--porcelain"):
        raise ReleaseError("there are uncommitted changes; commit or stash them first")
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    if not notes(changelog, "Unreleased"):
        raise ReleaseError("CHANGELOG.md has nothing under ## Unreleased; write what changed")


def prepare(repository: Path, version: str, today: datetime.date) -> None:
    """Write the version, commit, and tag the commit; leave everything as it was if git fails."""
    check(repository, version)
    before = git(repository, "rev-parse", "HEAD")
    for name, line in VERSION_LINES.items():
        path = repository / name
        text = line.sub(rf"\g<1>{version}\g<3>", path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8", newline="\n")
    path = repository / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    heading = f"## Unreleased\n\n## {version} ({today.isoformat()})"
    path.write_text(text.replace("## Unreleased", heading, 1), encoding="utf-8", newline="\n")
    try:
        git(repository, "commit", "--quiet", "--all", "--message", f"Release {version}")
        git(repository, "tag", "--annotate", "--message", f"Release {version}", f"v{version}")
    except ReleaseError:
        git(repository, "reset", "--quiet", "--hard", before)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m maintenance.release", description=__doc__)
    parser.add_argument("step", choices=["check", "prepare", "notes"])
    parser.add_argument("version", help="such as 1.2.0")
    arguments = parser.parse_args()
    repository = Path(__file__).resolve().parents[1]
    try:
        if arguments.step == "check":
            check(repository, arguments.version)
        elif arguments.step == "prepare":
            prepare(repository, arguments.version, datetime.datetime.now().date())
            print("To publish it: git push --follow-tags origin main")
        else:
            changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
            print(notes(changelog, arguments.version))
    except ReleaseError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
