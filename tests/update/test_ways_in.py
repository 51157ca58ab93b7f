"""Every way to use the template, end to end, through the command line.

Most run it in this process (tests/support/in_process.py).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from template_extensions import VERSION
from tests.support import in_process, template

Baked = Callable[..., Path]
QUIET = ("init_git=no", "install_dependencies=no")
DEFAULTS = ("--no-input", "--default-config")
posix = pytest.mark.skipif(os.name == "nt", reason="its programs and its shell are POSIX ones")


@pytest.fixture
def github(template_repository: Path, tmp_path: Path) -> dict[str, str]:
    """An environment where git finds github.com's org/medplum-bots on this machine."""
    hub = tmp_path / "hub" / "org"
    hub.mkdir(parents=True)
    template.git(
        "clone", "--quiet", "--bare", template_repository, hub / "medplum-bots.git", cwd=tmp_path
    )
    config = tmp_path / "gitconfig"
    config.write_text(
        f'[user]\n  name = Tester\n  email = tester@example.invalid\n[url "{hub.as_uri()}/"]\n'
        "  insteadOf = https://github.com/org/\n"
    )
    return {"GIT_CONFIG_GLOBAL": str(config), **at_home(tmp_path)}


def at_home(folder: Path) -> dict[str, str]:
    """An environment with another home, where Cookiecutter keeps clones and replays."""
    return {"HOME": str(folder), "USERPROFILE": str(folder)}


def only_folder(place: Path) -> Path:
    return place / "my-medplum-bots"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    place.mkdir()
    return place


def test_from_an_absolute_and_a_relative_path(baked: Baked, place: Path) -> None:
    in_process.cookiecutter(*DEFAULTS, template.ROOT, *QUIET, cwd=place)
    relative = os.path.relpath(template.ROOT, place)
    in_process.cookiecutter(*DEFAULTS, relative, "-o", "deep/er", *QUIET, cwd=place)
    for made in (only_folder(place), only_folder(place / "deep" / "er")):
        assert template.files(made) == template.files(baked())


def test_from_inside_the_template(tmp_path: Path) -> None:
    here = template.copy_template(tmp_path / "medplum-bots")
    in_process.cookiecutter(*DEFAULTS, ".", *QUIET, cwd=here)
    assert (here / "my-medplum-bots" / "package.json").exists()


def test_from_github(baked: Baked, github: dict[str, str], place: Path) -> None:
    in_process.cookiecutter(*DEFAULTS, "gh:org/medplum-bots", *QUIET, cwd=place, env=github)
    assert template.files(only_folder(place)) == template.files(baked())


@pytest.mark.parametrize("reference", [f"v{VERSION}", "main"])
def test_from_a_tag_and_a_branch(
    reference: str, baked: Baked, github: dict[str, str], place: Path
) -> None:
    in_process.cookiecutter(
        *DEFAULTS, "gh:org/medplum-bots", "--checkout", reference, *QUIET, cwd=place, env=github
    )
    assert template.files(only_folder(place)) == template.files(baked())


def test_from_a_zip(baked: Baked, place: Path, tmp_path: Path) -> None:
    template.copy_template(tmp_path / "zipped" / "medplum-bots")
    shutil.make_archive(str(tmp_path / "medplum-bots"), "zip", tmp_path / "zipped", "medplum-bots")
    in_process.cookiecutter(
        *DEFAULTS, tmp_path / "medplum-bots.zip", *QUIET, cwd=place, env=at_home(tmp_path)
    )
    assert template.files(only_folder(place)) == template.files(baked())


def test_a_replay_makes_the_same(place: Path, tmp_path: Path) -> None:
    env = at_home(tmp_path)
    answers = ("description=As before", "example_bots=none", *QUIET)
    in_process.cookiecutter("--no-input", template.ROOT, *answers, cwd=place, env=env)
    in_process.cookiecutter("--replay", template.ROOT, "-o", "again", cwd=place, env=env)
    (replayed,) = (tmp_path / ".cookiecutter_replay").glob("*.json")
    in_process.cookiecutter(
        "--replay-file", replayed, template.ROOT, "-o", "third", cwd=place, env=env
    )
    first = template.files(only_folder(place))
    assert (
        first
        == template.files(only_folder(place / "again"))
        == template.files(only_folder(place / "third"))
    )
    assert b"As before" in first["README.md"]


@pytest.mark.parametrize("named", [True, False], ids=["named", "at home"])
def test_answers_from_the_users_own_configuration(named: bool, place: Path, tmp_path: Path) -> None:
    config = tmp_path / ("config.yaml" if named else ".cookiecutterrc")
    config.write_text(
        "default_context:\n  author: Clinic\n  example_bots: none\n"
        "  init_git: no\n  install_dependencies: no\n"
    )
    line = ("--config-file", config) if named else ()
    in_process.cookiecutter("--no-input", *line, template.ROOT, cwd=place, env=at_home(tmp_path))
    made = only_folder(place)
    assert json.loads((made / "package.json").read_text())["author"] == "Clinic"
    assert (made / "src" / "bots" / "hello-patient-bot.ts").exists()
    assert not (made / ".git").exists()


def test_answers_typed_in(place: Path) -> None:
    typed = "Our Bots\n\n\nWe\n\n2\n5\n\n\n2\n2\nn\nn\n"
    done = template.cookiecutter("--default-config", template.ROOT, cwd=place, given=typed)
    made = place / "our-bots"
    assert json.loads((made / "package.json").read_text())["license"] == "MIT"
    assert (
        json.loads((made / "medplum.config.json").read_text())["bots"][0]["runtimeVersion"]
        == "vmcontext"
    )
    assert (made / ".gitlab-ci.yml").exists()
    assert done.stdout.count("recommended") >= 8


@pytest.fixture
def uvx(github: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The same environment with a `uvx` that runs the installed cruft."""
    (tmp_path / "bin").mkdir()
    uvx = tmp_path / "bin" / "uvx"
    uvx.write_text(f'#!/bin/sh\nshift\nexec {template.command("cruft")} "$@"\n')
    uvx.chmod(0o755)
    return {**github, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}


@posix
@pytest.mark.parametrize("released", [True, False], ids=["a tag", "a commit without a tag"])
def test_the_readmes_command_makes_the_same_and_links_it(
    released: bool, uvx: dict[str, str], place: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "hub" / "org" / "medplum-bots.git"
    checkout = f"v{VERSION}"
    if not released:
        template.git("tag", "--delete", checkout, cwd=repository)
        checkout = template.git("rev-parse", "HEAD", cwd=repository).strip()
    hostile = (
        """It's '"the"' $one `id` $(id) ``` \\n \\' '' !! # \u2019 \u200f💉 = {x} */ </script>"""
    )
    answers = [
        f"description={hostile}",
        f"author={hostile}",
        "license=MIT",
        "example_bots=hapi-sync",
    ]
    answers.append("install_dependencies=no")
    in_process.cookiecutter(*DEFAULTS, "gh:org/medplum-bots", *answers, cwd=place, env=uvx)
    made = only_folder(place)
    (line,) = [
        line
        for line in (made / "README.md").read_text().splitlines()
        if line.startswith("uvx cruft create")
    ]
    assert f" --checkout {checkout} " in line
    again = tmp_path / "again"
    again.mkdir()
    template.run("sh", "-c", line, cwd=again, env=uvx)
    assert template.files(only_folder(again), ".cruft.json") == template.files(made)
    template.run("sh", "-c", line.replace(" create ", " link "), cwd=made, env=uvx)
    assert "up to date" in in_process.cruft("check", cwd=made, env=uvx).stdout
    assert template.git("status", "--porcelain", cwd=made) == "?? .cruft.json\n"


class TestOverAnExistingRepository:
    """`-f`: no edit of the user is lost, and each overwritten file is named."""

    ANSWERS = ("example_bots=none", *QUIET)

    @pytest.fixture
    def edited(self, place: Path, tmp_path: Path) -> Path:
        """A repository with edits that are not committed."""
        line = ("--no-input", template.ROOT, *self.ANSWERS)
        in_process.cookiecutter(*line, cwd=place, env=at_home(tmp_path))
        made = only_folder(place)
        (made / "src" / "bots" / "mine.ts").write_text("mine\n")
        (made / "README.md").write_bytes(b"# Our own words\n")
        (made / "src" / "bots" / "hello-patient-bot.ts").write_bytes(b"// from an overlay\n")
        (made / "node_modules").mkdir()
        (made / "node_modules" / "big").write_text("")
        return made

    EDITS: ClassVar = {
        "README.md": b"# Our own words\n",
        "src/bots/hello-patient-bot.ts": b"// from an overlay\n",
    }

    @pytest.mark.parametrize("way", ["-f", "--replay", "--replay-file", "API", "cruft"])
    def test_edits_are_kept_and_named(
        self, way: str, edited: Path, place: Path, tmp_path: Path, template_repository: Path
    ) -> None:
        env = at_home(tmp_path)
        line: tuple[str | Path, ...]
        if way == "-f":
            line = (*DEFAULTS, "-f", template.ROOT, *self.ANSWERS)
            done = in_process.cookiecutter(*line, cwd=place, env=env)
        elif way == "--replay":
            done = in_process.cookiecutter("--replay", "-f", template.ROOT, cwd=place, env=env)
        elif way == "--replay-file":
            (file,) = (tmp_path / ".cookiecutter_replay").glob("*.json")
            line = ("--replay-file", file, "-f", template.ROOT)
            done = in_process.cookiecutter(*line, cwd=place, env=env)
        elif way == "API":
            code = (
                "from cookiecutter.main import cookiecutter\n"
                f"cookiecutter({str(template.ROOT)!r}, no_input=True, overwrite_if_exists=True,\n"
                "    extra_context={'example_bots': 'none', 'init_git': False,\n"
                "                   'install_dependencies': False})"
            )
            done = template.run(sys.executable, "-c", code, cwd=place, env=env)
        else:
            answers = json.dumps({**template.QUIET, "example_bots": "none"})
            line = ("create", "-f", "--no-input", template_repository, "--extra-context", answers)
            done = in_process.cruft(*line, cwd=place, env=env)
        assert (edited / "src" / "bots" / "mine.ts").read_text() == "mine\n"
        assert (edited / "README.md").read_text().startswith("# My Medplum Bots\n")
        copies = place / "my-medplum-bots.before-1"
        kept = template.files(copies)
        if way == "cruft":  # the command to recreate names a commit there
            kept.pop("tools/template.json", None)
        assert kept == self.EDITS
        assert f"your versions are in {copies}\n" in done.stdout
        for path in self.EDITS:
            assert path in done.stdout

    def test_without_edits_nothing_is_kept_or_said(self, place: Path) -> None:
        in_process.cookiecutter(*DEFAULTS, template.ROOT, *QUIET, cwd=place)
        done = in_process.cookiecutter(*DEFAULTS, "-f", template.ROOT, *QUIET, cwd=place)
        assert [path.name for path in place.iterdir()] == ["my-medplum-bots"]
        assert "Warning" not in done.stdout

    def test_a_second_time_keeps_both(self, edited: Path, place: Path) -> None:
        in_process.cookiecutter(*DEFAULTS, "-f", template.ROOT, *self.ANSWERS, cwd=place)
        (edited / "README.md").write_text("# Second\n")
        in_process.cookiecutter(*DEFAULTS, "-f", template.ROOT, *self.ANSWERS, cwd=place)
        first, second = (place / f"my-medplum-bots.before-{number}" for number in (1, 2))
        assert (first / "README.md").read_text() == "# Our own words\n"
        assert template.files(second) == {"README.md": b"# Second\n"}

    def test_existing_files_are_really_skipped(self, edited: Path, place: Path) -> None:
        """`-s`: also files of overlays, and nothing is added to the configuration twice."""
        (edited / ".nvmrc").unlink()
        (edited / "LICENSE").unlink()
        before = template.files(edited)
        done = in_process.cookiecutter(
            *DEFAULTS, "-f", "-s", template.ROOT, *self.ANSWERS, cwd=place
        )
        after = template.files(edited)
        assert after.keys() - before.keys() == {".nvmrc", "LICENSE"}
        assert {path: after[path] for path in before} == before
        assert "existing files were not changed (--skip-if-file-exists)" in done.stdout
        assert [path.name for path in place.iterdir()] == ["my-medplum-bots"]

    def test_a_git_repository_gets_no_second_commit(self, place: Path) -> None:
        line = (*DEFAULTS, template.ROOT, "install_dependencies=no")
        in_process.cookiecutter(*line, cwd=place)
        done = in_process.cookiecutter(*line, "-f", cwd=place)
        assert template.git("rev-list", "--count", "HEAD", cwd=only_folder(place)) == "1\n"
        assert "this is a git repository already; see git status" in done.stdout


def test_without_hooks_the_readme_says_what_is_missing(place: Path) -> None:
    in_process.cookiecutter(*DEFAULTS, "--accept-hooks", "no", template.ROOT, cwd=place)
    readme = (only_folder(place) / "README.md").read_text(encoding="utf-8")
    notice = readme.split("\n## ")[0]
    assert "This repository is not finished" in notice
    assert "`.overlays/`" in notice
    assert (only_folder(place) / ".overlays").is_dir()


def test_inside_another_repository_no_nested_one_is_made(place: Path) -> None:
    template.git("init", "--quiet", cwd=place)
    line = (*DEFAULTS, template.ROOT, "install_dependencies=no")
    done = in_process.cookiecutter(*line, cwd=place)
    assert not (only_folder(place) / ".git").exists()
    assert (
        f"Note: no git repository: this folder is inside {place}; commit it there\n" in done.stdout
    )
    template.commit_all(place, "All of it")
    template.git("clone", "--quiet", place, "clone", cwd=place.parent)
    clone = only_folder(place.parent / "clone")
    assert set(template.files(clone)) == set(template.files(only_folder(place)))


class TestTheEndOfARun:
    """What is printed at the end, and that a missing program costs one line."""

    def test_the_bots_and_the_next_commands(self, place: Path) -> None:
        env = {"PWD": str(place)}
        done = template.cookiecutter(*DEFAULTS, template.ROOT, *QUIET, cwd=place, env=env)
        lines = [line.strip() for line in done.stdout.splitlines()]
        heading = "Next, with Node 24 (24.2.0 or newer) or Node 26"  # which was not checked
        assert lines[lines.index(heading) + 1 :] == [
            "cd my-medplum-bots" if os.name != "nt" else f'cd "{only_folder(place)}"',
            "npm ci",
            "npm run build",
            "npm test",
            "npm run demo",
        ]
        created = lines[lines.index("Created my-medplum-bots") + 1 :][:3]
        assert [line.split()[0] for line in created] == [
            "hapi-sync-bot:",
            "hapi-reconcile-bot:",
            "hapi-sync-simple-bot:",
        ]
        assert all(len(line.split()) > 3 for line in created), "each bot has a few words"
        assert "Note: hapi-sync-simple-bot has no subscription, because another bot has it" in lines
        assert "\x1b" not in done.stdout
        assert done.stderr == ""

    @posix
    @pytest.mark.parametrize(
        ("folder", "output", "command"),
        [
            (".", ".", "cd my-medplum-bots"),
            (".", "My Bots", "cd 'My Bots/my-medplum-bots'"),
            ("deep", "..", "cd ../my-medplum-bots"),
        ],
    )
    def test_the_first_command_works_where_the_user_is(
        self, folder: str, output: str, command: str, place: Path
    ) -> None:
        here = place / folder
        here.mkdir(exist_ok=True)
        line = (*DEFAULTS, template.ROOT, "-o", output, *QUIET)
        done = in_process.cookiecutter(*line, cwd=here, env={"PWD": str(here)})
        assert f"  {command}\n" in done.stdout
        listed = template.run("sh", "-c", f"{command} && ls", cwd=here).stdout
        assert "package.json" in listed.split()

    def test_without_any_program_the_repository_is_complete(
        self, baked: Baked, place: Path, tmp_path: Path
    ) -> None:
        answers = ("init_git=yes", "install_dependencies=yes")
        env = {"PATH": str(tmp_path)}
        done = template.cookiecutter(*DEFAULTS, template.ROOT, *answers, cwd=place, env=env)
        notes = [line for line in done.stdout.splitlines() if line.startswith("Note: no ")]
        assert [note.split(": ")[1] for note in notes] == ["no git repository", "no npm packages"]
        assert set(template.files(only_folder(place))) == set(template.files(baked()))

    @posix
    @pytest.mark.parametrize(
        ("version", "words"),
        [
            ("v24.9.0", "npm ci failed (ENOTFOUND); later: npm ci"),  # no network
            ("v20.19.4", "Node is v20.19.4; install Node 24 (24.2.0 or newer) or Node 26, then"),
        ],
    )
    def test_what_npm_cannot_do_costs_one_line(
        self, version: str, words: str, place: Path, tmp_path: Path
    ) -> None:
        for name, script in (
            ("node", f"print({version!r})"),
            ("npm", "raise SystemExit('npm error code ENOTFOUND\\nnpm error network failed')"),
        ):
            (tmp_path / name).write_text(f"#!{sys.executable}\n{script}\n")
            (tmp_path / name).chmod(0o755)
        answers = ("init_git=no", "install_dependencies=yes")
        env = {"PATH": str(tmp_path)}
        done = in_process.cookiecutter(*DEFAULTS, template.ROOT, *answers, cwd=place, env=env)
        assert f"Note: no npm packages: {words}" in done.stdout
        # What is next works after the step that comes first.
        installs_node = "# first install Node 24 (24.2.0 or newer) or Node 26, for example with: "
        assert (f"  {installs_node}nvm install\n  npm ci\n" in done.stdout) == ("Node is" in words)
        assert "  npm ci\n  npm run build\n" in done.stdout
        assert (only_folder(place) / "package.json").exists()
