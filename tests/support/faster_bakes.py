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
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.generate import generate_file, is_binary
from jinja2 import Environment

# What Jinja changes: its instructions, and line ends other than `\n`.
RENDERED = re.compile(rb"\{[{%#]|\r")


def generate_or_copy(
    project: str, path: str, context: dict[str, Any], environment: Environment, skip: bool = False
) -> None:
    """Copy a file that renders to itself; let Cookiecutter generate any other."""
    content = Path(path).read_bytes()
    if skip or RENDERED.search(path.encode()) or RENDERED.search(content):
        generate_file(project, path, context, environment, skip)
        return
    copy = Path(project, path)
    copy.write_bytes(content)
    shutil.copymode(path, copy)


@contextlib.contextmanager
def files_read_once() -> Iterator[None]:
    """Render only files with Jinja, examine each once for being text, compile each text once."""
    compile_text = Environment.compile
    compiled: dict[tuple[Any, ...], Any] = {}

    def compile_once(self: Environment, source: Any, *options: Any, **named: Any) -> Any:
        # What a text compiles to does not depend on the answers: these come with the context.
        key = (source, options, tuple(sorted(named.items())))
        if key not in compiled:
            compiled[key] = compile_text(self, source, *options, **named)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", compile_once)
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
