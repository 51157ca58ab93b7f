"""The same answers give the same bytes in every way to generate, and without a network."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_cookies.plugin import Cookies

from tests.support import template

Baked = Callable[..., Path]
QUIET = ("init_git=no", "install_dependencies=no")


def test_a_second_bake_is_the_same(baked: Baked, cookies: Cookies) -> None:
    assert template.files(template.bake_with(cookies)) == template.files(baked())


NO_NETWORK = """
import socket
def refuse(*_):
    raise OSError("the test blocks the network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


@pytest.fixture(scope="module")
def no_network(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables that keep Python programs from using the network."""
    folder = tmp_path_factory.mktemp("blocked")
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def unusual_folder(no_network: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a name that few have, in which the command line baked without a network.

    Three tests read it: the command line takes ten times as long as a bake in this process.
    """
    folder = tmp_path_factory.mktemp("command-line") / "Ordner für Bots 💉"
    folder.mkdir()
    line = ("--no-input", "--default-config", template.ROOT, *QUIET)
    template.cookiecutter(*line, cwd=folder, env=no_network)
    return folder


on_the_same_worker = pytest.mark.xdist_group("command-line")


@on_the_same_worker
def test_the_command_line_bakes_the_same(baked: Baked, unusual_folder: Path) -> None:
    (made,) = unusual_folder.iterdir()
    assert made.name == "my-medplum-bots"
    # The README repeats the answers, booleans among them, in the words of who gave them.
    assert template.files(made) == template.files(baked())


def test_cruft_bakes_the_same(baked: Baked, template_repository: Path, tmp_path: Path) -> None:
    answers = json.dumps(template.QUIET)
    template.cruft(
        "create", "--no-input", template_repository, "--extra-context", answers, cwd=tmp_path
    )
    assert template.files(tmp_path / "my-medplum-bots", ".cruft.json") == template.files(baked())


def test_what_is_committed_is_enough(
    baked: Baked, template_repository: Path, tmp_path: Path
) -> None:
    """A bake from what git would hand out: nothing that is needed is ignored or missing."""
    template.run(
        "git", "archive", "--output", tmp_path / "template.zip", "HEAD", cwd=template_repository
    )
    shutil.unpack_archive(tmp_path / "template.zip", tmp_path / "template")
    made = template.bake(tmp_path / "out", tmp_path / "template")
    assert template.files(made) == template.files(baked())
    assert {".env.local", ".env.example", ".gitignore", ".npmrc", ".nvmrc"} <= set(
        template.files(made)
    )


def test_git_keeps_every_file_of_a_new_repository(cookies: Cookies) -> None:
    made = template.bake_with(cookies, init_git=True)
    tracked = template.git("ls-files", "-z", cwd=made).split("\0")[:-1]
    assert set(tracked) == set(template.files(made))
    assert template.git("status", "--porcelain", cwd=made) == ""


@on_the_same_worker
def test_folders_with_spaces_and_other_alphabets(baked: Baked, unusual_folder: Path) -> None:
    assert set(" ü💉") <= set(unusual_folder.name)
    assert template.files(unusual_folder / "my-medplum-bots") == template.files(baked())


@on_the_same_worker
def test_no_network_is_needed(
    baked: Baked, unusual_folder: Path, no_network: dict[str, str], tmp_path: Path
) -> None:
    connect = "import socket; socket.create_connection(('127.0.0.1', 9))"
    line = (sys.executable, "-c", connect)
    blocked = template.run(*line, cwd=tmp_path, env=no_network, check=False)
    assert "the test blocks the network" in blocked.stderr
    assert template.files(unusual_folder / "my-medplum-bots") == template.files(baked())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_read_only_template_makes_a_writable_repository(baked: Baked, tmp_path: Path) -> None:
    source = template.copy_template(tmp_path / "template")
    for path in [source, *source.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        made = template.bake(tmp_path / "out", source)
    finally:
        for path in [source, *source.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
    assert template.files(made) == template.files(baked())
    assert all(path.stat().st_mode & stat.S_IWUSR for path in made.rglob("*"))


def test_the_readme_says_how_to_make_the_same_again(baked: Baked) -> None:
    from template_extensions import VERSION

    made = baked(description='It\'s a "test" with $HOME and ```', license="MIT")
    readme = (made / "README.md").read_text(encoding="utf-8")
    assert f"[medplum-bots](https://github.com/org/medplum-bots) {VERSION}." in readme
    assert f"--checkout v{VERSION}" in readme
    assert (
        json.loads((made / "package.json").read_text(encoding="utf-8"))["medplumBotsTemplate"]
        == VERSION
    )
