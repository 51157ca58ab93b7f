"""A rendered repository as small as the hooks need it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new repository, which is the working folder as Cookiecutter makes it for hooks."""
    project = tmp_path / "bots"
    (project / "tools").mkdir(parents=True)
    (project / "medplum.config.json").write_text('{"identifierSystem": "urn:x", "bots": []}')
    (project / "package.json").write_text('{"scripts": {"build": "b"}}')
    (project / "README.md").write_text("# Bots\n")
    monkeypatch.chdir(project)
    return project
