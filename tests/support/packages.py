"""npm packages of generated repositories, installed once for each lock file and kept between runs.

Tests and benchmarks share them: the packages do not depend on the answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from tests.support import template
from tests.support.made_once import made_once

CACHE = template.REPOSITORY / "build" / "cache"

# What a run of a repository's commands keeps in node_modules; every repository has its own.
OWN_CACHES = (".cache", ".vite", ".vite-temp", ".vitest-cache")


def installed(repository: Path) -> Path:
    """Run `npm ci` for this repository, unless it has run for the same; return its node_modules."""

    def install(folder: Path) -> None:
        shutil.copytree(repository, folder)
        template.run("npm", "ci", cwd=folder)

    return made_once(CACHE / f"packages-{_key(repository)}", install) / "node_modules"


def _key(repository: Path) -> str:
    """Everything that what is installed depends on: the lock file, links to own packages, Node."""
    own_packages = [
        *repository.glob("tools/package.json"),
        *repository.glob("tools/replacements/*/*"),
    ]
    content = [
        path.read_bytes() for path in (repository / "package-lock.json", *sorted(own_packages))
    ]
    version = template.run("node", "--version", cwd=repository).stdout
    return hashlib.sha256(b"\0".join([*content, version.encode()])).hexdigest()[:16]


def on_the_disk_of(folder: Path, modules: Path) -> Path:
    """Return packages that can be linked into this folder: copied to its disk, if it is another."""
    if folder.stat().st_dev == modules.stat().st_dev:
        return modules

    def copy(to: Path) -> None:
        left_out = shutil.ignore_patterns(*OWN_CACHES)
        shutil.copytree(modules, to / modules.name, symlinks=True, ignore=left_out)

    return made_once(folder / modules.parent.name, copy) / modules.name


def add_packages(modules: Path, project: Path) -> None:
    """Give a repository its packages, and the links of its lock file to its own folders.

    Copied links would be wrong on Windows: npm makes junctions, which have absolute paths.
    """
    packages = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    links = {path: package["resolved"] for path, package in packages.items() if package.get("link")}
    linked = {modules.parent / path for path in links}

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(folder, name) in linked or name in OWN_CACHES]

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


def share_compiled_code(project: Path, compiled: Path) -> None:
    """Let Node keep what it compiles for a repository in a folder that all repositories share.

    With NODE_COMPILE_CACHE_PORTABLE, Node names what it keeps by the path inside the repository,
    and takes it only if the content is the same.
    """
    for name in ("medplum-bots", "node"):  # of the tools, and of the repository's tests
        folder = project / "node_modules" / ".cache" / name
        folder.mkdir(parents=True)
        (folder / compiled.name).symlink_to(compiled, target_is_directory=True)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)
