"""Generated repositories to run, with Node 24 from PyPI and packages installed once for all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import template
from tests.support.node import make_bin

# Kept between runs, by the hash of what it was installed from.
CACHE = template.REPOSITORY / "build" / "cache"

# What a run of a repository's commands keeps in node_modules; every repository has its own.
CACHES = (".cache", ".vite", ".vite-temp", ".vitest-cache")


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


def installed(source: Path, node_version: str) -> Path:
    """Run `npm ci` for this folder's lock file once, for all answers and test runs."""
    lock = (source / "package-lock.json").read_bytes()
    place = CACHE / hashlib.sha256(lock + node_version.encode()).hexdigest()[:16]
    if not place.exists():
        fresh = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.copytree(source, fresh)
        template.run("npm", "ci", cwd=fresh)
        try:
            fresh.rename(place)
        except OSError:  # another worker was first
            shutil.rmtree(fresh)
    return place / "node_modules"


@pytest.fixture(scope="session")
def node_modules(node: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The packages of a generated repository, and those that only its tooling's tests need."""
    version = template.run("node", "--version", cwd=node).stdout
    project = template.bake(tmp_path_factory.mktemp("installed"))
    return installed(project, version), installed(template.ROOT / "tests" / "project", version)


def add_packages(modules: Path, project: Path) -> None:
    """Give a repository its packages, and the links of its lock file to its own folders.

    Copied links would be wrong on Windows: npm makes junctions, which have absolute paths.
    """
    packages = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    links = {path: package["resolved"] for path, package in packages.items() if package.get("link")}
    linked = {modules.parent / path for path in links}

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(folder, name) in linked or name in CACHES]

    shutil.copytree(
        modules,
        project / "node_modules",
        symlinks=True,
        copy_function=link_or_copy,
        ignore=left_out,
    )
    for path, target in links.items():
        place = project / path
        place.symlink_to(os.path.relpath(project / target, place.parent), target_is_directory=True)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def new_project(
    node_modules: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Bake a repository with these answers, with its packages, to do with as the test likes."""

    def new(**answers: Any) -> Path:
        project = template.bake(tmp_path_factory.mktemp("project"), **answers)
        add_packages(node_modules[0], project)
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
