"""Measures a generation without installing.

It is compared with plain Cookiecutter, which renders the same files without a hook or extension.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from benchmarks.measure import (
    ROUNDS,
    Row,
    Side,
    Size,
    compare,
    execute,
    in_turns,
    same_or_fail,
)
from benchmarks.projects import scratch
from tests.support.template import ROOT, command, files

JINJA = re.compile(r"\{[{%#]")


def run_cookiecutter(template: Path, folder: Path, *answers: str) -> Path:
    """Generate with all default answers, by command line; return the new repository."""
    line: list[str | Path] = [
        "--no-input",
        "--default-config",
        "--output-dir",
        folder,
        template,
        *answers,
    ]
    execute(command("cookiecutter"), *line, cwd=folder.parent)
    (project,) = folder.iterdir()
    return project


def plain_template(tree: dict[str, bytes], folder: Path) -> Path:
    """Make a template of a finished tree: one question, and files to write as they are."""
    (folder / "{{cookiecutter.slug}}").mkdir(parents=True)
    (folder / "cookiecutter.json").write_text('{"slug": "my-medplum-bots"}', encoding="utf-8")
    for name, content in tree.items():
        file = folder / "{{cookiecutter.slug}}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        is_text = b"\0" not in content  # other files are not rendered
        if is_text and JINJA.search(content.decode("utf-8")):
            content = b"{% raw %}" + content + b"{% endraw %}"
        file.write_bytes(content)
    return folder


def run(size: Size) -> list[Row]:
    quiet = ("init_git=no", "install_dependencies=no")
    with scratch() as work:
        tree = files(run_cookiecutter(ROOT, work / "first", *quiet))
        plain = plain_template(tree, work / "plain")
        ours, theirs = work / "ours", work / "theirs"
        times = in_turns(
            Side(
                lambda: run_cookiecutter(ROOT, ours, *quiet),
                lambda: shutil.rmtree(ours, ignore_errors=True),
            ),
            Side(
                lambda: run_cookiecutter(plain, theirs),
                lambda: shutil.rmtree(theirs, ignore_errors=True),
            ),
            rounds=1 if size == "smallest" else 3 * ROUNDS,
        )
        same_or_fail("tree", files(next(ours.iterdir())), files(next(theirs.iterdir())))
    same = f"all {len(tree)} files, byte for byte"
    growth = "none: a new repository has the bots of its answers, three at most."
    what, against = "generation, no install", "plain cookiecutter, the same files"
    return [compare(what, against, times, 1.4, growth=growth, same=same)]
