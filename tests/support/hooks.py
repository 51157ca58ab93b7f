"""Hooks in tests: as modules, and as Cookiecutter renders them for given answers."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support import template

FOLDER = template.ROOT / "hooks"
GOOD_ANSWERS = {
    **template.DEFAULT_ANSWERS,
    "project_slug": "our-bots",
    "author": "We",
}
"""An answer to every question."""


def load_hook(name: str) -> ModuleType:
    """Import a hook that is not rendered, to test its functions."""
    return template.load(FOLDER / f"{name}.py", name)


def rendered_hook(folder: Path, name: str, **answers: Any) -> Path:
    """Write a hook into a folder as Cookiecutter renders it for these answers; return its path.

    The folder `source` in it takes the place of the template's files.
    """
    from cookiecutter.utils import create_env_with_context

    extensions = template.COOKIECUTTER["_extensions"]
    context = {"cookiecutter": {"_extensions": extensions, **answers}}
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    environment = create_env_with_context(context)
    environment.globals["source_folder"] = str(folder / "source")
    text = environment.from_string(source).render(**context)
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def write_project(project: Path) -> Path:
    """Write a rendered repository as small as the hooks need it; return its folder."""
    (project / "tools" / "bin").mkdir(parents=True)
    (project / "tools" / "bin" / "medplum-bots.cjs").write_text("")
    (project / "medplum.config.json").write_text('{"identifierSystem": "urn:x", "bots": []}')
    (project / "package.json").write_text('{"scripts": {"build": "b"}}')
    (project / "README.md").write_text("# Bots\n")
    return project


def write_overlay(
    project: Path, name: str, files: dict[str, str] | None = None, **description: Any
) -> None:
    """Add an overlay to a rendered repository."""
    folder = project / ".overlays" / name
    for path, text in (files or {}).items():
        (folder / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / path).write_text(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "overlay.json").write_text(json.dumps(description))
