"""Finishes a new repository: adds the chosen overlays, a git commit and the npm packages.

An overlay is a folder in `.overlays/`, with `overlay.json` and the files that it adds. Once the
files are in place, what cannot be done (no git, no Node, no network) costs one line, and the hook
does not fail: Cookiecutter deletes a new repository if a hook fails.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The answers enter this program only here, as JSON. `tojson` escapes single quotes, so no answer
# can end the literal.
# fmt: off
ANSWERS = r'''{{ cookiecutter | plain_answers | tojson }}'''
TEMPLATE = r'''{{ cookiecutter | template_source | tojson }}'''
SOURCE = r'''{{ source_folder | tojson }}'''
UNDER_CRUFT = r'''{{ ('_commit' in cookiecutter) | tojson }}'''
# fmt: on

STAGING = ".overlays"
MANIFEST = Path("tools", "template.json")
NODE_ENGINES = "^24.2.0 || ^26.0.0"
"""The same as `engines.node` in package.json."""
SUPPORTED_NODE = "Node 24 (24.2.0 or newer) or Node 26"
"""The same for people."""
NPM_LIMIT_S = 600
JSON_WIDTH = 100


@dataclass(frozen=True)
class Existing:
    """The template's files that were in the folder before (`-f`), copied by pre_gen_project.py."""

    copies: Path | None = None
    skipped: bool = False
    """Cookiecutter left them as they were (--skip-if-file-exists)."""

    def keeps(self, path: Path) -> bool:
        """Return whether the file at this path, relative to the repository, must stay as it is."""
        return self.skipped and self.copies is not None and (self.copies / path).exists()


def find_existing(project: Path) -> Existing:
    """Read what hooks/pre_gen_project.py left in the staging folder."""
    note = project / STAGING / "copies.txt"
    if not note.exists():
        return Existing()
    mode = (project / STAGING / "existing-files.txt").read_text(encoding="utf-8").strip()
    return Existing(Path(note.read_text(encoding="utf-8")), skipped=mode == "skipped")


def drop_unchanged_copies(project: Path, copies: Path) -> list[str]:
    """Delete the copies of files that have the same content as before; return the other paths."""
    changed = []
    for path in files_in(copies):
        if filecmp.cmp(copies / path, project / path, shallow=False):
            (copies / path).unlink()
        else:
            changed.append(path.as_posix())
    folders = (path for path in copies.rglob("*") if path.is_dir())
    for folder in [*sorted(folders, reverse=True), copies]:  # inner folders before outer ones
        if not any(folder.iterdir()):
            folder.rmdir()
    return changed


def chosen_overlays(staging: Path, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the overlays that the answers choose and those they need, by name.

    The value is the content of overlay.json. An overlay comes after those that it needs.
    """
    overlays = {
        path.parent.name: json.loads(path.read_bytes())
        for path in sorted(staging.glob("*/overlay.json"))
    }
    chosen: dict[str, Any] = {}

    def choose(name: str) -> None:
        for needed in overlays[name].get("needs", []):
            choose(needed)
        chosen[name] = overlays[name]

    for name, overlay in overlays.items():
        conditions = overlay.get("chosen_by", {}).items()
        if any(answers.get(question) in values for question, values in conditions):
            choose(name)
    return chosen


def add_overlays(
    project: Path, answers: dict[str, Any], existing: Existing | None = None
) -> dict[str, Any]:
    """Add the files, bots and npm scripts of the chosen overlays, and delete the staging folder.

    Return the chosen overlays by name.
    """
    existing = existing or Existing()
    staging = project / STAGING
    overlays = chosen_overlays(staging, answers)
    for name in overlays:
        move_files(staging / name / "files", project, existing)
    if not existing.keeps(Path("medplum.config.json")):
        add_bots(project / "medplum.config.json", overlays, answers["bot_runtime"])
    if not existing.keeps(Path("package.json")):
        add_scripts(project / "package.json", overlays)
    shutil.rmtree(staging)
    return overlays


def move_files(files: Path, project: Path, existing: Existing) -> None:
    for path in files_in(files):
        if existing.keeps(path):
            continue
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).replace(project / path)


def add_bots(config_file: Path, overlays: dict[str, Any], runtime: str) -> None:
    """Add the overlays' bots to medplum.config.json, each with the chosen runtime."""
    config = json.loads(config_file.read_bytes())
    for overlay in overlays.values():
        # Two bots that write the same resources would duplicate them, so one has no subscription.
        inactive = any(name in overlays for name in overlay.get("inactive_beside", []))
        for bot in overlay.get("bots", []):
            if inactive:
                bot["subscriptions"] = []
            bot["runtimeVersion"] = runtime
            config["bots"].append(bot)
    write_text(config_file, formatted_json(config) + "\n")


def add_scripts(package_file: Path, overlays: dict[str, Any]) -> None:
    """Add the overlays' npm scripts to package.json."""
    package = json.loads(package_file.read_bytes())
    for overlay in overlays.values():
        package["scripts"].update(overlay.get("scripts", {}))
    # prettier formats package.json as npm does, with every list on several lines.
    write_text(package_file, json.dumps(package, indent=2, ensure_ascii=False) + "\n")


def formatted_json(value: Any, indent: str = "", column: int = 0) -> str:
    """Write JSON as prettier does: lists of plain values on one line where they fit.

    `indent` is that of the line the value begins on, `column` where on that line it begins.
    """
    if not isinstance(value, (dict, list)) or not value:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
        line = json.dumps(value, ensure_ascii=False)
        if column + len(line) < JSON_WIDTH:  # one column for the comma
            return line
    inner = indent + "  "
    if isinstance(value, list):
        items = [inner + formatted_json(item, inner, len(inner)) for item in value]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    members = []
    for name, member in value.items():
        start = f"{inner}{json.dumps(name, ensure_ascii=False)}: "
        members.append(start + formatted_json(member, inner, len(start)))
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def files_in(folder: Path) -> list[Path]:
    """Return the paths of all files in a folder, relative to it, in order."""
    paths = []
    for place, _, names in os.walk(folder):
        inside = Path(place).relative_to(folder)
        paths += [inside / name for name in names]
    return sorted(paths)


def write_manifest(
    project: Path, template: dict[str, str], source: Path, overlays: Any, existing: Existing
) -> None:
    """Write down where the repository comes from and the hash of each file of the template.

    `npm run template -- status` compares them with the files of that day. `source` is the folder
    of the template's files, `overlays` are the names of the chosen overlays. Files that were
    skipped are left out, because the template did not write them.
    """
    paths = [path for path in files_in(source) if path.parts[0] != STAGING]
    for name in overlays:
        paths += files_in(source / STAGING / name / "files")
    hashes = {
        path.as_posix(): hashlib.sha256((project / path).read_bytes()).hexdigest()
        for path in sorted(paths)
        if not existing.keeps(path)
    }
    write_text(project / MANIFEST, formatted_json({**template, "files": hashes}) + "\n")


def remove_notice(readme: Path) -> None:
    """Remove the notice that the repository is unfinished, which is for `--accept-hooks no`."""
    text = readme.read_text(encoding="utf-8")
    finished = re.sub(r"<!-- unfinished -->.*?<!-- /unfinished -->\n\n", "", text, flags=re.DOTALL)
    if finished != text:
        write_text(readme, finished)


def make_writable(project: Path, source: Path) -> None:
    """Undo the read-only mode that files inherit from a read-only template, whose files these are.

    Other files in the folder keep their mode.
    """
    for path in files_in(source):
        mode = (project / path).stat().st_mode
        if not mode & 0o200:
            (project / path).chmod(mode | 0o200)


def make_executable(project: Path) -> None:
    """Make the command line executable, as npm does; otherwise git shows a change after npm ci.

    Files from a zip file have lost this mode.
    """
    program = project / "tools" / "bin" / "medplum-bots.cjs"
    program.chmod(program.stat().st_mode | 0o111)


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    succeeded: bool
    output: str

    @property
    def last_line(self) -> str:
        lines = self.output.splitlines()
        return lines[-1].strip() if lines else "it printed nothing"


def run(*command: str, limit_s: float | None = None) -> Result:
    """Run a command in this folder, without input."""
    # A git hook that started this program sets GIT_DIR and others, which name another repository.
    kept = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG")
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(kept)
    }
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Result(False, f"stopped after {limit_s:g} s")
    except KeyboardInterrupt:
        return Result(False, "stopped by Ctrl+C")
    except OSError as error:
        return Result(False, str(error))
    return Result(done.returncode == 0, done.stdout.decode(errors="replace").strip())


def outer_repository(project: Path) -> Path | None:
    """Return the git repository that this folder is in, or None.

    git itself is not asked: it refuses to read a repository of another user.
    """
    for folder in project.parents:
        git_folder = folder / ".git"  # a file in a worktree or submodule
        if git_folder.is_file() or (git_folder / "HEAD").is_file():
            return folder
    return None


def create_repository(project: Path) -> str | None:
    """Create a git repository with a first commit; return why not, or None."""
    if (project / ".git").exists():
        return "no commit: this is a git repository already; see git status"
    git = shutil.which("git")
    later = "git init && git add -A && git commit -m 'First commit'"
    if git is None:
        return f"no git repository: git was not found; later: {later}"
    outer = outer_repository(project)
    if outer and not run(git, "check-ignore", "--quiet", str(project)).succeeded:
        # A repository inside another one is not part of it: a clone would lack these files.
        return f"no git repository: this folder is inside {outer}; commit it there"
    for step in (("-c", "init.defaultBranch=main", "init", "--quiet"), ("add", "--all")):
        result = run(git, *step)
        if not result.succeeded:
            return f"no git repository: git failed ({result.last_line}); later: {later}"
    options = ("--quiet", "--no-verify", "--no-gpg-sign")
    result = run(git, "commit", *options, "--message", "Start from medplum-bots")
    if not result.succeeded:
        return f"no first commit: git commit failed ({result.last_line}); later: git commit"
    return None


def node_is_supported(version: str) -> bool:
    """Return whether this Node (`v24.10.0`) is one of NODE_ENGINES."""
    found = re.match(r"v(\d+)\.(\d+)\.", version)
    if not found:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 24 and minor >= 2) or major == 26


def node_version() -> str:
    """Return the version of Node, such as `v24.10.0`, or what is wrong with it, in one line."""
    node = shutil.which("node")
    if node is None:
        return "not found"
    result = run(node, "--version")
    # Warnings may be printed before and after it.
    version = re.search(r"^v\d+\.\d+\.\d+$", result.output, re.MULTILINE)
    return version[0] if version else f"broken ({result.last_line})"


def install_packages(project: Path) -> str | None:
    """Install the npm packages of package-lock.json; return why not, or None."""
    node, npm = shutil.which("node"), shutil.which("npm")
    version = node_version()
    if node is None or not node_is_supported(version):
        return f"no npm packages: Node is {version}; install {SUPPORTED_NODE}, then run npm ci"
    if npm is None:
        return "no npm packages: npm was not found, which comes with Node; later: npm ci"
    print("Installing the npm packages with npm ci (Ctrl+C to skip) ...", flush=True)
    # Without a network, npm would try for several minutes.
    patience = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000")
    settings = ("--include=dev", "--include=optional", "--no-dry-run")
    result = run(npm, "ci", "--prefer-offline", *settings, *patience, limit_s=NPM_LIMIT_S)
    if not result.succeeded:
        # npm's last line is where its log is.
        code = re.search(r"(?<=code )E\w+", result.output)
        first_error = re.search(r"(?<=npm error )\S.*", result.output)
        found = code or first_error
        reason = found[0].strip() if found else result.last_line
        return f"no npm packages: npm ci failed ({reason}); later: npm ci"
    # esbuild is a dev dependency and has its program in an optional one: if it works, both kinds
    # were installed, regardless of the user's npm settings.
    esbuild = str(project / "node_modules" / "esbuild" / "bin" / "esbuild")
    if not run(node, esbuild, "--version").succeeded:
        return "npm packages are missing: npm ci left some out; look at npm config ls"
    return None


def print_bold(text: str) -> None:
    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(f"\x1b[1m{text}\x1b[0m" if bold else text)


def change_folder_command(project: Path) -> str | None:
    """Return the command that goes to the repository, or None if the user is there."""
    if os.name == "nt":  # the user's folder is not known, and cmd has no single quotes
        return f'cd "{project}"'
    relative = os.path.relpath(project, os.environ.get("PWD", project.parent))
    if relative == ".":
        return None
    return f"cd {shlex.quote(min(relative, str(project), key=len))}"


def finish(project: Path, answers: dict[str, Any], overlays: dict[str, Any]) -> None:
    """Create the git repository, install the packages, and print what was done and what is next."""
    notes = []
    if answers["init_git"]:
        notes.append(create_repository(project))
    problem_with_npm = install_packages(project) if answers["install_dependencies"] else None
    notes.append(problem_with_npm)
    print_bold(f"\nCreated {project.name}")
    for overlay in overlays.values():
        bots = overlay.get("bots", [])
        if bots:
            names = ", ".join(bot["name"] for bot in bots)
            print(f"  {names + ':':22} {overlay['title']}")
        for bot in bots:
            if bot.get("subscriptions") == []:
                notes.append(f"{bot['name']} has no subscription, because another bot has it")
    for note in notes:
        if note:
            print(f"Note: {note}")
    setup = []
    if problem_with_npm and not node_is_supported(node_version()):
        setup.append(f"# first install {SUPPORTED_NODE}, for example with: nvm install")
    if problem_with_npm or not answers["install_dependencies"]:
        setup.append("npm ci")
    print_next(project, *setup, node_was_checked=answers["install_dependencies"])


def print_next(project: Path, *setup: str, node_was_checked: bool) -> None:
    """Print the commands to type next, from where the user is; and for which Node, if needed."""
    print_bold("Next" if node_was_checked else f"Next, with {SUPPORTED_NODE}")
    commands = (change_folder_command(project), *setup, "npm run build", "npm test", "npm run demo")
    for command in commands:
        if command:
            print(f"  {command}", flush=True)


def is_for_comparison(project: Path) -> bool:
    """Return whether cruft compares this repository and deletes it: /tmp/tmp1a2b3c/<name>."""
    folder = project.parent
    temporary = Path(tempfile.gettempdir()).resolve()
    return folder.parent == temporary and folder.name.startswith("tmp")


def complete(project: Path, answers: dict[str, Any], existing: Existing) -> dict[str, Any]:
    """Make what Cookiecutter rendered a complete repository; return the chosen overlays by name."""
    source = Path(json.loads(SOURCE))
    make_writable(project, source)
    make_executable(project)
    overlays = add_overlays(project, answers, existing)
    if not existing.keeps(Path("README.md")):
        remove_notice(project / "README.md")
    if not existing.keeps(MANIFEST):
        write_manifest(project, json.loads(TEMPLATE), source, overlays, existing)
    return overlays


def name_existing_files(project: Path, existing: Existing) -> None:
    """Say which files of an existing folder were overwritten, and where their copies are."""
    if existing.skipped:
        print("Note: existing files were not changed (--skip-if-file-exists)")
    if existing.copies:
        changed = drop_unchanged_copies(project, existing.copies)
        if changed:
            print(
                f"Warning: overwritten: {', '.join(changed)}; "
                f"your versions are in {existing.copies}"
            )


def main() -> None:
    for stream in (sys.stdout, sys.stderr):  # for a console that cannot show every character
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    project = Path.cwd()
    answers = json.loads(ANSWERS)
    existing = find_existing(project)
    try:
        overlays = complete(project, answers, existing)
        name_existing_files(project, existing)
    except (OSError, KeyboardInterrupt) as error:
        reason = str(error) or "stopped by Ctrl+C"
        copies = f"; your versions of its files are in {existing.copies}" if existing.copies else ""
        print(f"Error: {project} is not complete: {reason}{copies}", file=sys.stderr)
        sys.exit(1)
    try:
        # cruft also generates into temporary folders to compare them. A commit there would break
        # `cruft update`, and packages would be of no use.
        if not json.loads(UNDER_CRUFT):
            finish(project, answers, overlays)
        elif not is_for_comparison(project):
            print_next(project, "git init", "npm ci", node_was_checked=False)
    except (Exception, KeyboardInterrupt) as error:
        reason = str(error) or "stopped by Ctrl+C"
        print(f"Warning: {project} is complete, but: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
