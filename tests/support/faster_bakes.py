"""Shortcuts that make bakes in this process faster, with the same result.

Cookiecutter compiles every file of the template for every bake, and examines it for being text.
Hundreds of bakes of one template repeat the same work, and most files have nothing to render.
tests/bake/test_same.py and test_matrix.py compare with what the command lines of Cookiecutter and
cruft make, without these shortcuts.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import runpy
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.generate import generate_file, is_binary
from jinja2 import Environment

# What Jinja changes: its instructions, and line ends other than `\n`.
RENDERED = re.compile(r"\{[{%#]|\r")
RENDERED_BYTES = re.compile(RENDERED.pattern.encode())


@dataclass(frozen=True)
class PlainText:
    """A text without Jinja in place of a template: it renders to itself."""

    text: str

    def render(self, **_: Any) -> str:
        return self.text


@functools.lru_cache(maxsize=1000)  # twice as many as a template has files
def plain_content(path: str, modified_ns: int, size: int) -> bytes | None:
    """Return the content of a file that renders to itself, None for any other.

    A file that was changed has another time or size.
    """
    content = Path(path).read_bytes()
    return None if RENDERED_BYTES.search(content) else content


def generate_or_copy(
    project: str, path: str, context: dict[str, Any], environment: Environment, skip: bool = False
) -> None:
    """Copy a file that renders to itself; let Cookiecutter generate any other."""
    status = os.stat(path)
    content = plain_content(os.path.abspath(path), status.st_mtime_ns, status.st_size)
    if skip or content is None or RENDERED.search(path):
        generate_file(project, path, context, environment, skip)
        return
    copy = os.path.join(project, path)
    with open(copy, "wb") as file:
        file.write(content)
    os.chmod(copy, stat.S_IMODE(status.st_mode))


@contextlib.contextmanager
def files_read_once() -> Iterator[None]:
    """Render only what has Jinja; read each other file once, and compile each text once."""
    compile_text = Environment.compile
    from_string = Environment.from_string
    compiled: dict[tuple[Any, ...], Any] = {}

    def compile_once(self: Environment, source: Any, *options: Any, **named: Any) -> Any:
        # What a text compiles to does not depend on the answers: these come with the context.
        key = (source, options, tuple(sorted(named.items())))
        if key not in compiled:
            compiled[key] = compile_text(self, source, *options, **named)
        return compiled[key]

    def plain_or_template(self: Environment, source: Any, *options: Any, **named: Any) -> Any:
        # Most are paths of folders, which are different in each bake.
        if self.keep_trailing_newline and not RENDERED.search(source):
            return PlainText(source)
        return from_string(self, source, *options, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", compile_once)
        patch.setattr(Environment, "from_string", plain_or_template)
        patch.setattr("cookiecutter.generate.generate_file", generate_or_copy)
        patch.setattr("cookiecutter.generate.is_binary", functools.cache(is_binary))
        yield


@contextlib.contextmanager
def hooks_in_this_process() -> Iterator[None]:
    """Run hooks without starting Python for each."""

    def run_script(script: str, folder: str) -> None:
        before = Path.cwd()
        os.chdir(folder)
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            if stop.code:
                raise FailedHookException(
                    f"Hook script failed (exit status: {stop.code})"
                ) from stop
        finally:
            os.chdir(before)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cookiecutter.hooks.run_script", run_script)
        yield
