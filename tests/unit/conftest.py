"""A rendered repository as small as the hooks need it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.hooks import write_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new repository, which is the working folder as Cookiecutter makes it for hooks."""
    project = write_project(tmp_path / "bots")
    monkeypatch.chdir(project)
    return project
