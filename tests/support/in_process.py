"""The command lines of Cookiecutter and cruft, run in the process of the tests.

They do the same as the installed programs, in a fifth of the time: nothing is imported again, and
bakes share what faster_bakes.py remembers. Tests use the programs themselves (tests/support/
template.py) where it matters that it is a process: for what is typed in, for tracebacks, and once
for each way to generate.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.faster_bakes import hooks_in_this_process


def cookiecutter(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    from cookiecutter.cli import main

    return _run("cookiecutter", main, arguments, cwd, env or {}, check)


def cruft(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    from cruft._cli import app

    return _run("cruft", app, arguments, cwd, env or {}, check)


def _run(
    name: str,
    program: Callable[..., object],
    arguments: tuple[str | Path, ...],
    cwd: Path,
    env: Mapping[str, str],
    check: bool,
) -> subprocess.CompletedProcess[str]:
    """Run a program of click; a failure shows what it printed."""
    line = [str(argument) for argument in arguments]
    stdout, stderr = _text_stream(), _text_stream()
    code: object = 0
    with (
        _like_a_new_process(cwd, env),
        hooks_in_this_process(),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            program(args=line, prog_name=name)
        except SystemExit as stop:
            code = stop.code or 0
    assert isinstance(code, int), code
    printed, errors = _written(stdout), _written(stderr)
    if check:
        assert code == 0, f"{name} {line} left with {code}\n{printed}\n{errors}"
    return subprocess.CompletedProcess([name, *line], code, printed, errors)


def _text_stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


@contextlib.contextmanager
def _like_a_new_process(cwd: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Give what runs its own folder, environment and home, and no module of the template."""
    from cookiecutter import config

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        for name, value in env.items():
            patch.setenv(name, value)
        # Cookiecutter reads the home when it is imported.
        home = Path.home()
        patch.setattr(config, "USER_CONFIG_PATH", str(home / ".cookiecutterrc"))
        for name in ("cookiecutters_dir", "replay_dir"):
            folder = home / Path(config.DEFAULT_CONFIG[name]).name
            patch.setitem(config.DEFAULT_CONFIG, name, f"{folder}{os.sep}")
        # It logs to the standard output that it found.
        patch.setattr(logging.getLogger("cookiecutter"), "handlers", [])
        # Each template imports its own filters, and Python must not take those of an older one.
        extensions = "template_extensions"
        folders = [path for path in sys.path if not Path(path, f"{extensions}.py").exists()]
        patch.setattr(sys, "path", folders)
        patch.delitem(sys.modules, extensions, raising=False)
        patch.setattr(sys, "dont_write_bytecode", True)
        yield
