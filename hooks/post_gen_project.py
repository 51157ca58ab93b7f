"""Finishes a new repository: adds the chosen overlays, git, the npm packages, and says what comes next.

What cannot be done (no git, no Node, no network) costs one line. Start-up is most of its time, so it imports little.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

# The only place where answers enter this program; `tojson` escapes single quotes, so no answer can end the literal.
# fmt: off
CONTEXT = r'''{{ cookiecutter | tojson }}'''
RECREATE = r'''{{ cookiecutter | recreate_command | tojson }}'''
# fmt: on


def write_json(path: Path, value: Any) -> None:
    """Write JSON as prettier would, so that formatting changes nothing: short lists of plain values on one line."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if path.name != "package.json":  # which prettier leaves as npm writes it
        text = re.sub(r"\[\n\s*([^\[\]{}]{1,90}?)\n\s*\]", lambda m: "[" + re.sub(r",\n\s*", ", ", m[1]) + "]", text)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def chosen_overlays(staged: Path, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the overlays that the answers choose, each after those it needs: folder name -> its overlay.json."""
    known = {path.parent.name: json.loads(path.read_bytes()) for path in sorted(staged.glob("*/overlay.json"))}
    chosen: dict[str, Any] = {}

    def with_needs(name: str) -> list[str]:
        return [*(deeper for needed in known[name].get("needs", []) for deeper in with_needs(needed)), name]

    for name, overlay in known.items():
        if any(answers.get(question) in values for question, values in overlay.get("chosen_by", {}).items()):
            chosen |= {each: known[each] for each in with_needs(name)}
    return chosen


def add_overlays(project: Path, answers: dict[str, Any]) -> dict[str, Any]:
    """Move the chosen overlays' files into place, merge their entries, remove the rest; return the overlays."""
    make_writable(project)
    staged = project / ".overlays"
    overlays = chosen_overlays(staged, answers)
    config, package = (json.loads((project / name).read_bytes()) for name in ("medplum.config.json", "package.json"))
    for name, overlay in overlays.items():
        files = staged / name / "files"
        for source in sorted(path for path in files.rglob("*") if path.is_file()):
            target = project / source.relative_to(files)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        for bot in overlay.get("bots", []):
            if overlays.keys() & set(overlay.get("rests_beside", [])):
                bot["subscriptions"] = []
            config["bots"].append({**bot, "runtimeVersion": answers["bot_runtime"]})
        package["scripts"].update(overlay.get("scripts", {}))
    write_json(project / "medplum.config.json", config)
    write_json(project / "package.json", package)
    shutil.rmtree(staged)
    return overlays


def edited_before(project: Path, kept: Path) -> list[str]:
    """Keep of an earlier repository's copy only the files that were written over; return their paths."""
    left = []
    for path in sorted([kept, *kept.rglob("*")], reverse=True):  # a folder's files before the folder
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # not empty
                path.rmdir()
        elif path.is_symlink() or filecmp.cmp(path, project / path.relative_to(kept), shallow=False):
            path.unlink()
        else:
            left.append(path.relative_to(kept).as_posix())
    return left[::-1]


def make_writable(project: Path) -> None:
    """Undo the read-only mode that files inherit from a read-only template."""
    for folder, folders, files in os.walk(project):
        folders[:] = [name for name in folders if name not in (".git", "node_modules")]
        for path in (Path(folder, name) for name in files):
            if not path.is_symlink() and not path.stat().st_mode & 0o200:
                path.chmod(path.stat().st_mode | 0o200)


def run(*command: str) -> tuple[bool, str]:
    """Run a command in this folder; return whether it worked, and what it printed."""
    # GIT_DIR and its like, set while a git hook runs, would point our git at another repository.
    mine = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG")
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith(mine)}
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env, check=False)
    except (OSError, KeyboardInterrupt) as error:  # Ctrl+C ends this command, not the work
        return False, str(error) or "stopped by Ctrl+C"
    return done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace").strip()


def make_commit(project: Path) -> str | None:
    """Make a git repository with a first commit; return why not, if not."""
    if (project / ".git").exists():
        return "no commit: this is a git repository already; see git status"
    git = shutil.which("git")
    if not (git and run(git, "-c", "init.defaultBranch=main", "init", "--quiet")[0] and run(git, "add", "--all")[0]):
        why = "failed" if git else "was not found"
        return f"no git repository: git {why}; later: git init && git add -A && git commit -m 'First commit'"
    done, _ = run(git, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", "Start from medplum-bots")
    return None if done else "no first commit: git wants your name; git config user.name, user.email, then git commit"


def install(project: Path) -> str | None:
    """Install the npm packages of the lock file; return why not, if not."""
    needed = json.loads((project / "package.json").read_bytes())["engines"]["node"].removeprefix(">=")
    node, npm = shutil.which("node"), shutil.which("npm")
    found = run(node, "--version")[1] if node and npm else "not found"
    version, least = (tuple(int(part) for part in re.findall(r"\d+", text)[:2]) for text in (found, needed))
    if npm is None or version < least:
        return f"no npm packages: Node is {found}; install Node {needed} or newer, then run npm ci"
    # npm's own patience without a network is 70 s.
    console, text = terminal(), "Installing the npm packages (npm ci) ..."
    with console.status(text) if console else nullcontext(print(text, flush=True)):
        done, printed = run(npm, "ci", "--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
    why = re.search(r"(?<=code )E\w+|stopped by Ctrl\+C", printed)
    return None if done else f"no npm packages: npm failed{f' ({why[0]})' if why else ''}; later: npm ci"


def terminal() -> Any:
    """Return rich's console on a terminal (it honours NO_COLOR), else None: importing rich takes its time."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def say(text: str, style: str = "") -> None:
    """Print lines; with their style on a terminal."""
    console = terminal() if style and text else None
    console.print(text, style=style, soft_wrap=True) if console else print(text, flush=True)


def show_tree(title: str, rows: list[tuple[int, str, str]]) -> None:
    """Show what was made: depth (1 or 2), name and a few words of each; a tree on a terminal, else indented lines."""
    if not (console := terminal()):
        say("\n".join([title, *(f"{'  ' * depth}{name:{27 - 2 * depth}}{words}" for depth, name, words in rows)]))
        return
    from rich import text, tree

    path = [tree.Tree(text.Text(title, "bold green"), guide_style="dim")]
    for depth, name, words in rows:
        path[depth:] = [path[depth - 1].add(text.Text.assemble((f"{name:{29 - 4 * depth}}", "cyan"), words))]
    console.print(path[0])


def finish(project: Path, answers: dict[str, Any], overlays: dict[str, Any]) -> None:
    """Do what may fail without harm (git, npm), and say what was made, what was left out and why, and what is next."""
    if (kept := os.environ.get("MEDPLUM_BOTS_KEPT")) and (files := edited_before(project, Path(kept))):
        say(f"Warning: written over, yours are kept in {kept}: {', '.join(files)}", "yellow")
    # cruft makes repositories in temporary folders to compare them: a commit there breaks its update.
    if "_commit" in answers:
        if kept is not None:  # cruft create
            say(f"Left to you by cruft, in {project.name}: git init (if new), npm ci, npm run build, npm test")
        return
    no_git = make_commit(project) if answers["init_git"] else "no git repository: not wanted"
    no_npm = install(project) if answers["install_dependencies"] else "no npm packages: not wanted"
    readme = (project / "README.md").read_text(encoding="utf-8")  # its table says what is where
    rows = [(1, *found) for found in re.findall(r"^\| `(\S+)` +\| (.*?) +\|$", readme, re.MULTILINE)]
    bots = [(bot, overlay["title"]) for overlay in overlays.values() for bot in overlay.get("bots", [])]
    rows[1:1] = [(2, bot["name"], title) for bot, title in bots]  # below src/bots/
    show_tree(f"\nMade {project.name}", rows)
    rest = [f"events for {bot['name']}: another bot has them" for bot, _ in bots if bot.get("subscriptions") == []]
    say("".join(f"Left out: {reason}\n" for reason in (no_git, no_npm, *rest) if reason), "yellow")
    say("Next", "bold")
    here = f'"{project}"'  # Windows: the shell's folder is not known, and single quotes are not its
    if os.name != "nt":
        here = shlex.quote(min(os.path.relpath(project, os.environ.get("PWD", project.parent)), str(project), key=len))
    commands = (f"cd {here}", no_npm and "npm ci", "npm run build", "npm test", "npm run demo")
    say("\n".join(f"  {command}" for command in commands if command), "cyan")
    say("\nThe same again (also in README.md)", "bold")
    say(f"  {json.loads(RECREATE)}")


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # a console that cannot show a letter must not stop the work
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    here, answers = Path.cwd(), json.loads(CONTEXT)
    overlays = add_overlays(here, answers)
    try:
        finish(here, answers, overlays)
    except (Exception, KeyboardInterrupt) as error:  # or Cookiecutter would delete a finished repository
        print(f"Warning: {here} is complete, but finishing it failed: {str(error) or 'stopped'}", file=sys.stderr)
