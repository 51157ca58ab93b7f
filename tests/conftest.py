"""Fixtures of all tests: an empty home, baked repositories, a git repository of the template."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from pytest_cookies.plugin import Cookies

from tests.support import template
from tests.support.faster_bakes import files_read_once, hooks_in_this_process
from tests.support.made_once import made_once
from tests.support.memory import use_memory

# Tests use a snapshot of the template, and its filters have to come from there too.
sys.path.insert(0, str(template.ROOT))

from template_extensions import VERSION

# For make test-fast: a tenth of what CI tries.
settings.register_profile("fast", max_examples=10)

# Repositories with their packages, for the tests that run what was generated, and a HAPI server.
pytest_plugins = ["tests.support.one_worker", "tests.support.projects", "tests.support.shared_hapi"]

# Without what only takes time: compression, writing through to the disk, collecting garbage.
GIT_CONFIG = """[user]
    name = Tester
    email = tester@example.invalid
[init]
    defaultBranch = main
[protocol "file"]
    allow = always
[core]
    compression = 0
    fsync = none
[maintenance]
    auto = false
"""


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-cookies bake the snapshot of the template, into memory where there is enough."""
    config.option.template = str(template.ROOT)
    use_memory()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seeds of random tests, which they record as the property `seed`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "seed":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Hide the developer's own configuration of git and Cookiecutter from the tests.

    Temporary files go to pytest's folder, too: Cookiecutter leaves each hook that it ran.
    """
    home = tmp_path_factory.mktemp("home")
    temporary = tmp_path_factory.mktemp("temporary")
    (home / "gitconfig").write_text(GIT_CONFIG)
    npm = {
        "npm_config_cache": Path.home() / ".npm",
        "npm_config_userconfig": Path.home() / ".npmrc",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        for name in ("TMPDIR", "TEMP", "TMP"):
            patch.setenv(name, str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for name, value in npm.items():
            patch.setenv(name, os.environ.get(name, str(value)))
        patch.delenv("NO_COLOR", raising=False)
        patch.delenv("COOKIECUTTER_CONFIG", raising=False)
        for name in list(os.environ):
            if name.startswith("GIT_") and not name.startswith("GIT_CONFIG"):
                patch.delenv(name)
        yield home


@pytest.fixture(scope="session", autouse=True)
def fast_bakes() -> Iterator[None]:
    """Let all bakes of a test process share the work that does not depend on the answers."""
    with files_read_once():
        yield


@pytest.fixture(scope="session")
def baked(cookies_session: Cookies, shared_folder: Path) -> Callable[..., Path]:
    """Bake with these answers, or return what was baked with them before. Do not change it."""

    def bake(**answers: Any) -> Path:
        def make(folder: Path) -> None:
            with hooks_in_this_process():
                template.bake_with(cookies_session, **answers).parent.rename(folder)

        all_answers = {**template.DEFAULT_ANSWERS, **template.QUIET, **answers}
        key = hashlib.sha256(repr(sorted(all_answers.items())).encode()).hexdigest()[:16]
        (project,) = made_once(shared_folder / "baked" / key, make).iterdir()
        return project

    return bake


@pytest.fixture(scope="session")
def template_repository(shared_folder: Path) -> Path:
    """A git repository of the template, tagged with its version. Do not change it."""

    def make(folder: Path) -> None:
        repository = template.copy_template(folder / "medplum-bots")
        template.commit_all(repository, "The template", f"v{VERSION}")

    return made_once(shared_folder / "template", make) / "medplum-bots"
