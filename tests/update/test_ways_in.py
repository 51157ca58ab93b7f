"""Every way to use the template, end to end, through the command line."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from template_extensions import VERSION
from tests.support import template

Baked = Callable[..., Path]
QUIET = ("init_git=no", "install_dependencies=no")
DEFAULTS = ("--no-input", "--default-config")
posix = pytest.mark.skipif(os.name == "nt", reason="its programs and its shell are POSIX ones")


@pytest.fixture
def github(template_repository: Path, tmp_path: Path) -> dict[str, str]:
    """An environment where git finds github.com's org/medplum-bots on this machine."""
    hub = tmp_path / "hub" / "org"
    hub.mkdir(parents=True)
    template.git("clone", "--quiet", "--bare", template_repository, hub / "medplum-bots.git", cwd=tmp_path)
    config = tmp_path / "gitconfig"
    config.write_text(
        f'[user]\n  name = Tester\n  email = tester@example.invalid\n[url "{hub.as_uri()}/"]\n'
        "  insteadOf = https://github.com/org/\n"
    )
    return {"GIT_CONFIG_GLOBAL": str(config), **at_home(tmp_path)}


def at_home(folder: Path) -> dict[str, str]:
    """An environment with a home of its own, where Cookiecutter keeps clones, replays and its configuration."""
    return {"HOME": str(folder), "USERPROFILE": str(folder)}


def only_folder(place: Path) -> Path:
    return place / "my-medplum-bots"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    place.mkdir()
    return place


def test_from_an_absolute_and_a_relative_path(baked: Baked, place: Path) -> None:
    template.cookiecutter(*DEFAULTS, template.ROOT, *QUIET, cwd=place)
    relative = os.path.relpath(template.ROOT, place)
    template.cookiecutter(*DEFAULTS, relative, "-o", "deep/er", *QUIET, cwd=place)
    for made in (only_folder(place), only_folder(place / "deep" / "er")):
        assert template.files(made) == template.files(baked())


def test_from_inside_the_template(tmp_path: Path) -> None:
    here = template.copy_template(tmp_path / "medplum-bots")
    template.cookiecutter(*DEFAULTS, ".", *QUIET, cwd=here)
    assert (here / "my-medplum-bots" / "package.json").exists()


def test_from_github(baked: Baked, github: dict[str, str], place: Path) -> None:
    template.cookiecutter(*DEFAULTS, "gh:org/medplum-bots", *QUIET, cwd=place, env=github)
    assert template.files(only_folder(place)) == template.files(baked())


@pytest.mark.parametrize("reference", [f"v{VERSION}", "main"])
def test_from_a_tag_and_a_branch(reference: str, baked: Baked, github: dict[str, str], place: Path) -> None:
    template.cookiecutter(*DEFAULTS, "gh:org/medplum-bots", "--checkout", reference, *QUIET, cwd=place, env=github)
    assert template.files(only_folder(place)) == template.files(baked())


def test_from_a_zip(baked: Baked, place: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "medplum-bots"), "zip", template.ROOT.parent, template.ROOT.name)
    template.cookiecutter(*DEFAULTS, tmp_path / "medplum-bots.zip", *QUIET, cwd=place, env=at_home(tmp_path))
    assert template.files(only_folder(place)) == template.files(baked())


def test_a_replay_makes_the_same(place: Path, tmp_path: Path) -> None:
    env = at_home(tmp_path)
    answers = ("description=As before", "example_bots=none", *QUIET)
    template.cookiecutter("--no-input", template.ROOT, *answers, cwd=place, env=env)
    template.cookiecutter("--replay", template.ROOT, "-o", "again", cwd=place, env=env)
    (replayed,) = (tmp_path / ".cookiecutter_replay").glob("*.json")
    template.cookiecutter("--replay-file", replayed, template.ROOT, "-o", "third", cwd=place, env=env)
    first = template.files(only_folder(place))
    assert first == template.files(only_folder(place / "again")) == template.files(only_folder(place / "third"))
    assert b"As before" in first["README.md"]


@pytest.mark.parametrize("named", [True, False], ids=["named", "at home"])
def test_answers_from_the_users_own_configuration(named: bool, place: Path, tmp_path: Path) -> None:
    config = tmp_path / ("config.yaml" if named else ".cookiecutterrc")
    config.write_text(
        "default_context:\n  author: Clinic\n  example_bots: none\n  init_git: no\n  install_dependencies: no\n"
    )
    line = ("--config-file", config) if named else ()
    template.cookiecutter("--no-input", *line, template.ROOT, cwd=place, env=at_home(tmp_path))
    made = only_folder(place)
    assert json.loads((made / "package.json").read_text())["author"] == "Clinic"
    assert (made / "src" / "bots" / "hello-patient-bot.ts").exists()
    assert not (made / ".git").exists()


def test_answers_typed_in(place: Path) -> None:
    typed = "Our Bots\n\n\nWe\n\n2\n5\n\n2\n2\nn\nn\n"
    done = template.cookiecutter("--default-config", template.ROOT, cwd=place, given=typed)
    made = place / "our-bots"
    assert json.loads((made / "package.json").read_text())["license"] == "MIT"
    assert json.loads((made / "medplum.config.json").read_text())["bots"][0]["runtimeVersion"] == "vmcontext"
    assert (made / ".gitlab-ci.yml").exists()
    assert done.stdout.count("recommended") >= 8


@pytest.fixture
def uvx(github: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The same environment with a `uvx` that runs the installed cruft, as the real one would the newest."""
    (tmp_path / "bin").mkdir()
    uvx = tmp_path / "bin" / "uvx"
    uvx.write_text(f'#!/bin/sh\nshift\nexec {template.command("cruft")} "$@"\n')
    uvx.chmod(0o755)
    return {**github, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}


@posix
def test_the_readmes_command_makes_the_same_and_links_it(uvx: dict[str, str], place: Path, tmp_path: Path) -> None:
    hostile = """It's '"the"' $one `id` $(id) ``` \\n \\' '' !! # \u2019 \u200f💉 = {x} */ </script>"""
    answers = [f"description={hostile}", f"author={hostile}", "license=MIT", "example_bots=hapi-sync"]
    answers.append("install_dependencies=no")
    template.cookiecutter(*DEFAULTS, "gh:org/medplum-bots", *answers, cwd=place, env=uvx)
    made = only_folder(place)
    (line,) = [line for line in (made / "README.md").read_text().splitlines() if line.startswith("uvx cruft create")]
    again = tmp_path / "again"
    again.mkdir()
    template.run("sh", "-c", line, cwd=again, env=uvx)
    assert template.files(only_folder(again), ".cruft.json") == template.files(made)
    template.run("sh", "-c", line.replace(" create ", " link "), cwd=made, env=uvx)
    assert "up to date" in template.cruft("check", cwd=made, env=uvx).stdout
    assert template.git("status", "--porcelain", cwd=made) == "?? .cruft.json\n"


class TestOverAnExistingRepository:
    """`-f`: nothing that the user wrote is lost, and what was written over is said."""

    @pytest.fixture
    def edited(self, place: Path) -> Path:
        template.cookiecutter(*DEFAULTS, template.ROOT, *QUIET, cwd=place)
        made = only_folder(place)
        (made / "src" / "bots" / "mine.ts").write_text("mine\n")
        (made / "README.md").write_bytes(b"# Our own words\n")
        (made / "node_modules").mkdir()
        (made / "node_modules" / "big").write_text("")
        return made

    def test_own_files_stay_and_edits_are_kept_and_told(self, edited: Path, place: Path) -> None:
        done = template.cookiecutter(*DEFAULTS, "-f", template.ROOT, *QUIET, cwd=place)
        assert (edited / "src" / "bots" / "mine.ts").read_text() == "mine\n"
        assert (edited / "README.md").read_text().startswith("# My Medplum Bots\n")
        kept = place / "my-medplum-bots.before-1"
        assert template.files(kept) == {"README.md": b"# Our own words\n"}
        assert f"written over, yours are kept in {kept}: README.md\n" in done.stdout

    def test_without_edits_nothing_is_kept_or_said(self, place: Path) -> None:
        template.cookiecutter(*DEFAULTS, template.ROOT, *QUIET, cwd=place)
        done = template.cookiecutter(*DEFAULTS, "-f", template.ROOT, *QUIET, cwd=place)
        assert [path.name for path in place.iterdir()] == ["my-medplum-bots"]
        assert "written over" not in done.stdout

    def test_a_second_time_keeps_both(self, edited: Path, place: Path) -> None:
        template.cookiecutter(*DEFAULTS, "-f", template.ROOT, *QUIET, cwd=place)
        (edited / "README.md").write_text("# Second\n")
        template.cookiecutter(*DEFAULTS, "-f", template.ROOT, *QUIET, cwd=place)
        assert (place / "my-medplum-bots.before-2" / "README.md").read_text() == "# Second\n"

    def test_a_git_repository_gets_no_second_commit(self, place: Path) -> None:
        template.cookiecutter(*DEFAULTS, template.ROOT, "install_dependencies=no", cwd=place)
        done = template.cookiecutter(*DEFAULTS, "-f", template.ROOT, "install_dependencies=no", cwd=place)
        assert template.git("rev-list", "--count", "HEAD", cwd=only_folder(place)) == "1\n"
        assert "this is a git repository already" in done.stdout

    def test_a_replay_over_it_tells_through_git(self, place: Path, tmp_path: Path) -> None:
        env = at_home(tmp_path)
        template.cookiecutter("--no-input", template.ROOT, "install_dependencies=no", cwd=place, env=env)
        made = only_folder(place)
        (made / "README.md").write_bytes(b"# Our own words\n")
        template.git("commit", "--quiet", "--all", "--message", "Edit", cwd=made)
        done = template.cookiecutter("--replay", "-f", template.ROOT, cwd=place, env=env)
        assert "git status" in done.stdout
        assert template.git("status", "--porcelain", cwd=made) == " M README.md\n"


class TestTheEndOfARun:
    """What is said when the work is done, and that missing tools cost a line, not the work."""

    def test_the_summary_names_the_parts_and_the_next_commands(self, place: Path) -> None:
        done = template.cookiecutter(*DEFAULTS, template.ROOT, *QUIET, cwd=place, env={"PWD": str(place)})
        lines = [line.strip() for line in done.stdout.splitlines()]
        assert lines[lines.index("Next") + 1 :][:5] == [
            "cd my-medplum-bots" if os.name != "nt" else f'cd "{only_folder(place)}"',
            "npm ci",
            "npm run build",
            "npm test",
            "npm run demo",
        ]
        parts = done.stdout.partition("Made my-medplum-bots\n")[2].partition("Left out")[0].splitlines()
        assert [part.split()[0] for part in parts] == [
            "src/bots/",
            "hapi-reconcile-bot",
            "hapi-sync-bot",
            "hapi-sync-simple-bot",
            "src/shared/",
            "tests/",
            "docs/",
            "medplum.config.json",
            "tools/",
            ".github/workflows/",
        ]
        assert all(len(part.split()) > 3 for part in parts), "each part has a few words"
        assert all((only_folder(place) / part.split()[0]).exists() for part in parts if part[2] != " ")
        assert "Left out: no npm packages: not wanted" in lines
        assert "Left out: events for hapi-sync-simple-bot: another bot has them" in lines
        assert "\x1b" not in done.stdout
        assert done.stderr == ""

    def test_with_no_tool_at_all_the_repository_is_there(self, baked: Baked, place: Path, tmp_path: Path) -> None:
        answers = ("init_git=yes", "install_dependencies=yes")
        done = template.cookiecutter(*DEFAULTS, template.ROOT, *answers, cwd=place, env={"PATH": str(tmp_path)})
        left_out = [line for line in done.stdout.splitlines() if line.startswith("Left out: ")]
        reasons = [line.split(": ")[1] for line in left_out]
        assert reasons == ["no git repository", "no npm packages", "events for hapi-sync-simple-bot"]
        assert set(template.files(only_folder(place))) == set(template.files(baked()))

    @posix
    @pytest.mark.parametrize(
        ("version", "words"),
        [
            ("v24.9.0", "npm failed (ENOTFOUND); later: npm ci"),  # no network
            ("v20.19.4", "Node is v20.19.4; install Node 24.2.0 or newer, then run npm ci"),
        ],
    )
    def test_what_npm_cannot_do_costs_one_line(self, version: str, words: str, place: Path, tmp_path: Path) -> None:
        for name, script in (
            ("node", f"print({version!r})"),
            ("npm", "raise SystemExit('npm error code ENOTFOUND\\nnpm error network request failed')"),
        ):
            (tmp_path / name).write_text(f"#!{sys.executable}\n{script}\n")
            (tmp_path / name).chmod(0o755)
        answers = ("init_git=no", "install_dependencies=yes")
        done = template.cookiecutter(*DEFAULTS, template.ROOT, *answers, cwd=place, env={"PATH": str(tmp_path)})
        assert f"Left out: no npm packages: {words}\n" in done.stdout
        assert (only_folder(place) / "package.json").exists()
