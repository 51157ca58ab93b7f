"""Generated repositories to run, with Node 24 from PyPI and packages installed once for all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import template
from tests.support.faster_bakes import hooks_in_this_process
from tests.support.node import make_bin
from tests.support.packages import (
    add_packages,
    installed,
    link_or_copy,
    on_the_disk_of,
    share_compiled_code,
)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Put the Node of this Python environment first on PATH, before the system's."""
    folder = make_bin(tmp_path_factory.mktemp("node") / "bin")
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    # Tests in a child must not think that npm started them.
    for name in [
        name
        for name in os.environ
        if name.startswith("npm_") and not name.startswith("npm_config_")
    ]:
        del os.environ[name]
    return folder


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder of all workers of this test run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def node_modules(node: Path, baked: Callable[..., Path], shared_folder: Path) -> tuple[Path, Path]:
    """The packages of a generated repository, and those that only its tooling's tests need."""
    of_project = installed(baked())
    of_tests = installed(template.ROOT / "tests" / "project")
    return on_the_disk_of(shared_folder, of_project), on_the_disk_of(shared_folder, of_tests)


@pytest.fixture(scope="session")
def compiled(node: Path, shared_folder: Path) -> Path:
    """Where all repositories keep what Node compiled, a folder that is named by Node's version."""
    os.environ["NODE_COMPILE_CACHE_PORTABLE"] = "1"
    folder = shared_folder / "compiled"
    script = (
        "const module = require('node:module'); module.enableCompileCache(process.argv[1]); "
        "console.log(module.getCompileCacheDir())"
    )
    return Path(template.run("node", "-e", script, folder, cwd=shared_folder).stdout.strip())


@pytest.fixture(scope="session")
def install(node_modules: tuple[Path, Path], compiled: Path) -> Callable[[Path], None]:
    """Do what `npm ci` does in a repository, without the time that it takes."""

    def add(project: Path) -> None:
        add_packages(node_modules[0], project)
        share_compiled_code(project, compiled)

    return add


@pytest.fixture(scope="session")
def new_project(
    install: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Bake a repository with these answers, with its packages, to do with as the test likes."""

    def new(**answers: Any) -> Path:
        with hooks_in_this_process():
            project = template.bake(tmp_path_factory.mktemp("project"), **answers)
        install(project)
        return project

    return new


@pytest.fixture(scope="session")
def add_tooling_tests(node_modules: tuple[Path, Path]) -> Callable[[Path], None]:
    """Copy the TypeScript tests of the tools into a repository, with the packages they need."""

    def add(project: Path) -> None:
        shutil.copytree(
            template.ROOT / "tests" / "tools",
            project / "tooling-tests",
            ignore=shutil.ignore_patterns("*.py"),
        )
        extra = project / "tooling-tests" / "node_modules"
        shutil.copytree(node_modules[1], extra, symlinks=True, copy_function=link_or_copy)

    return add


@pytest.fixture(scope="session")
def project(new_project: Callable[..., Path]) -> Path:
    """One repository with all examples and its packages; shared, so leave it as it was."""
    return new_project()
