"""Ways to use the template in tests: in this process, by command line, as a git repository."""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import json
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from cookiecutter.exceptions import UndefinedVariableInTemplate
from jinja2 import TemplateSyntaxError

if TYPE_CHECKING:
    from pytest_cookies.plugin import Cookies

REPOSITORY = Path(__file__).resolve().parents[2]


def run(
    *line: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    given: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command line; a failure shows what it printed."""
    program = shutil.which(str(line[0]), path=(env or {}).get("PATH")) or str(
        line[0]
    )  # Windows: npm is npm.cmd
    done = subprocess.run(
        [program, *(str(part) for part in line[1:])],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=given,
        stdin=None if given is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",  # a Windows console may not be UTF-8
        check=False,
    )
    if check:
        assert done.returncode == 0, (
            f"{line} left with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done


def _listed() -> list[str]:
    """The files of the template as they are now: what git tracks, and what it would."""
    printed = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY
    ).stdout
    return sorted(
        path for path in set(printed.split("\0")) if path and (REPOSITORY / path).is_file()
    )


def _snapshot() -> Path:
    """Copy the template with uncommitted edits, so that edits during a test run have no effect."""
    folder = tempfile.mkdtemp(prefix="medplum-bots-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = Path(folder, "medplum-bots")
    for path in _listed():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / path, root / path)
    for extension in root.glob("*.py"):  # Cookiecutter imports them several times in each bake
        py_compile.compile(str(extension))
    return root


def _read_questions(path: Path) -> dict[str, Any]:
    """Read cookiecutter.json; if it is not JSON, say so in one line."""
    try:
        questions: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid JSON: {error}") from None
    return questions


def _snapshot_of_this_run() -> Path:
    """Make a snapshot, or return that of the process that started this worker of pytest-xdist."""
    name = "MEDPLUM_BOTS_SNAPSHOT"
    if "PYTEST_XDIST_WORKER" not in os.environ or name not in os.environ:
        os.environ[name] = str(_snapshot())
    return Path(os.environ[name])


ROOT = _snapshot_of_this_run()
SOURCE = ROOT / "{{cookiecutter.project_slug}}"
COOKIECUTTER = _read_questions(ROOT / "cookiecutter.json")
QUESTIONS: dict[str, Any] = {
    name: value for name, value in COOKIECUTTER.items() if not name.startswith("_")
}
DEFAULT_ANSWERS: dict[str, Any] = {
    name: value[0] if isinstance(value, list) else value for name, value in QUESTIONS.items()
}
"""Some of them are Jinja, which Cookiecutter renders."""
UNNEEDED = {"benchmarks", "docs", "maintenance", "tests"}
"""Folders of the template from which nothing is generated."""

QUIET = {"init_git": False, "install_dependencies": False}


def matrix() -> Iterator[dict[str, str]]:
    """Every combination of the answers that choose files.

    The bot of `failure_alerts` depends on no other answer. It is in a third of the combinations, so
    that it meets each of the other answers without doubling them.
    """
    names = ("bot_runtime", "example_bots", "ci_provider", "license")
    for values in itertools.product(*(QUESTIONS[name] for name in names)):
        answers = dict(zip(names, values, strict=True))
        positions = [QUESTIONS[name].index(answers[name]) for name in ("ci_provider", "license")]
        chosen = sum(positions) % 3 == 2
        yield {**answers, "failure_alerts": QUESTIONS["failure_alerts"][chosen]}


def template_mistake(error: TemplateSyntaxError | UndefinedVariableInTemplate) -> str:
    """Say in one line which file, and if known which line, is not a valid Jinja template."""
    if isinstance(error, UndefinedVariableInTemplate):
        return f"{error.message}: {error.error.message} (in Jinja)"
    return f"{error.name}:{error.lineno}: Jinja cannot read this line: {error.message}"


def bake(folder: Path, template: Path | str = ROOT, **answers: Any) -> Path:
    """Bake in this process, without git and npm unless asked for; return the new repository."""
    from cookiecutter.main import cookiecutter

    folder.mkdir(parents=True, exist_ok=True)
    context = {**QUIET, **answers}
    try:
        made = cookiecutter(
            str(template),
            no_input=True,
            extra_context=context,
            output_dir=str(folder),
            default_config=True,
        )
    except (TemplateSyntaxError, UndefinedVariableInTemplate) as error:
        pytest.fail(template_mistake(error), pytrace=False)
    return Path(made)


def bake_with(cookies: Cookies, **answers: Any) -> Path:
    """Bake with a fixture of pytest-cookies, without git and npm unless asked for."""
    result = cookies.bake(extra_context={**QUIET, **answers})
    if isinstance(result.exception, TemplateSyntaxError | UndefinedVariableInTemplate):
        pytest.fail(template_mistake(result.exception), pytrace=False)
    if result.exception:
        raise result.exception
    assert result.project_path
    project: Path = result.project_path
    return project


def command(name: str) -> str:
    """Return the path of a command that is installed with the running Python."""
    return str(Path(sysconfig.get_path("scripts"), name))


def cookiecutter(
    *arguments: str | Path, cwd: Path, **options: Any
) -> subprocess.CompletedProcess[str]:
    return run(command("cookiecutter"), *arguments, cwd=cwd, **options)


def cruft(*arguments: str | Path, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return run(command("cruft"), *arguments, cwd=cwd, **options)


def git(*arguments: str | Path, cwd: Path) -> str:
    return run("git", *arguments, cwd=cwd).stdout


def files(project: Path, *leave_out: str) -> dict[str, bytes]:
    """Every file of a repository by its path, without what tools make in it."""
    hidden = {".git", "node_modules", "dist", *leave_out}
    found = {}
    for folder, folders, names in os.walk(project):
        folders[:] = set(folders) - hidden
        inside = Path(folder).relative_to(project)
        for name in set(names) - hidden:
            path = Path(folder, name)
            if path.is_file():
                found[(inside / name).as_posix()] = path.read_bytes()
    return dict(sorted(found.items()))


def template_files() -> list[str]:
    """The template's files, as a clone would have them."""
    hidden = {"__pycache__"}
    paths = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*")) if path.is_file()]
    return [path.as_posix() for path in paths if not hidden & set(path.parts)]


def copy_template(to: Path) -> Path:
    """Copy what repositories are generated from, which is less than half of all files."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        unneeded = UNNEEDED if Path(folder) == ROOT else set()
        return {"__pycache__", *unneeded} & set(names)

    shutil.copytree(ROOT, to, ignore=left_out)
    return to


def commit_all(repository: Path, message: str, tag: str | None = None) -> None:
    if not (repository / ".git").exists():
        git("init", "--quiet", "--initial-branch=main", cwd=repository)
    git("add", "--all", "--force", cwd=repository)
    git("commit", "--quiet", "--message", message, cwd=repository)
    if tag:
        git("tag", tag, cwd=repository)


def commit_all_tracked(repository: Path, message: str) -> None:
    """Commit everything that git does not ignore, unlike commit_all."""
    git("add", "--all", cwd=repository)
    git("commit", "--quiet", "--message", message, cwd=repository)


def load(path: Path, name: str) -> ModuleType:
    """Import a Python file from anywhere."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module
