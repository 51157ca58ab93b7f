"""What every tier shares: a home of its own, repositories baked once, and a git repository of the template."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from template_extensions import VERSION
from tests.support import template

# For make test-fast: a tenth of what CI tries.
settings.register_profile("fast", max_examples=10)

# Repositories with their packages, for the tiers that run what was generated.
pytest_plugins = ["tests.support.projects"]

GIT_CONFIG = """[user]
    name = Tester
    email = tester@example.invalid
[init]
    defaultBranch = main
[protocol "file"]
    allow = always
"""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which random cases were tried, so that they can be tried again: `record_property("seed", …)`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "seed":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the developer's own configuration of git and Cookiecutter out of the tests, and theirs untouched."""
    home = tmp_path_factory.mktemp("home")
    (home / "gitconfig").write_text(GIT_CONFIG)
    npm = {"npm_config_cache": Path.home() / ".npm", "npm_config_userconfig": Path.home() / ".npmrc"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for name, value in npm.items():
            patch.setenv(name, os.environ.get(name, str(value)))
        patch.delenv("NO_COLOR", raising=False)
        patch.delenv("COOKIECUTTER_CONFIG", raising=False)
        for name in [name for name in os.environ if name.startswith("GIT_") and not name.startswith("GIT_CONFIG")]:
            patch.delenv(name)
        yield home


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Bake with these answers, or return the repository that an earlier test baked with them: read only."""
    made: dict[str, Path] = {}

    def bake(**answers: Any) -> Path:
        key = repr(sorted(answers.items()))
        if key not in made:
            made[key] = template.bake(tmp_path_factory.mktemp("baked"), **answers)
        return made[key]

    return bake


@pytest.fixture(scope="session")
def template_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository of the template as it is now, tagged with its version: read only."""
    repository = template.copy_template(tmp_path_factory.mktemp("template") / "medplum-bots")
    template.commit_all(repository, "The template", f"v{VERSION}")
    return repository
