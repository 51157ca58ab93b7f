"""hooks/post_gen_project.py: overlays, copies of overwritten files, git, npm and output."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from tests.support import template
from tests.support.hooks import load_hook, rendered_hook, write_overlay, write_project

posix = pytest.mark.skipif(os.name == "nt", reason="its programs and modes are POSIX ones")


@pytest.fixture(scope="session")
def hook() -> ModuleType:
    return load_hook("post_gen_project")


def command(folder: Path, name: str, script: str) -> None:
    """Put a small program on a PATH of its own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable} -S\n{script}\n")
    (folder / name).chmod(0o755)


def test_overlays_come_by_answer_and_by_need(hook: ModuleType, project: Path) -> None:
    write_overlay(project, "a-bot", chosen_by={"example_bots": ["both"]}, needs=["shared"])
    write_overlay(project, "b-bot", chosen_by={"example_bots": ["none"]})
    write_overlay(project, "shared", needs=["deeper"])
    write_overlay(project, "deeper")
    write_overlay(project, "unused")
    chosen = hook.chosen_overlays(project / ".overlays", {"example_bots": "both"})
    assert list(chosen) == ["deeper", "shared", "a-bot"]


def test_an_overlays_files_and_entries_are_added_and_the_rest_is_gone(
    hook: ModuleType, project: Path
) -> None:
    write_overlay(
        project,
        "a-bot",
        {"src/bots/a-bot.ts": "a", "tests/.hidden": "h"},
        chosen_by={"license": ["MIT"]},
        bots=[{"name": "a-bot", "secrets": ["A", "B"]}],
        scripts={"resync": "node tools/resync.ts"},
    )
    write_overlay(project, "other", {"src/other.ts": "o"}, chosen_by={"license": ["none"]})
    hook.add_overlays(project, {"license": "MIT", "bot_runtime": "vmcontext"})
    expected = {
        "README.md",
        "medplum.config.json",
        "package.json",
        "src/bots/a-bot.ts",
        "tests/.hidden",
        "tools/bin/medplum-bots.cjs",
    }
    assert set(template.files(project)) == expected
    config = json.loads((project / "medplum.config.json").read_text())
    assert config["bots"] == [
        {"name": "a-bot", "secrets": ["A", "B"], "runtimeVersion": "vmcontext"}
    ]
    assert list(config) == ["identifierSystem", "bots"]
    scripts = json.loads((project / "package.json").read_text())["scripts"]
    assert scripts == {"build": "b", "resync": "node tools/resync.ts"}


def test_two_bots_that_write_the_same_resources_are_not_both_subscribed(
    hook: ModuleType, project: Path
) -> None:
    subscribed = {"subscriptions": [{"criteria": "Patient"}]}
    write_overlay(
        project, "safe", chosen_by={"example_bots": ["both"]}, bots=[{"name": "safe", **subscribed}]
    )
    write_overlay(
        project,
        "simple",
        chosen_by={"example_bots": ["both", "simple"]},
        inactive_beside=["safe"],
        bots=[{"name": "simple", **subscribed}],
    )
    hook.add_overlays(project, {"example_bots": "both", "bot_runtime": "awslambda"})
    safe, simple = json.loads((project / "medplum.config.json").read_text())["bots"]
    assert safe["subscriptions"] == subscribed["subscriptions"]
    assert simple["subscriptions"] == []


def test_json_is_formatted_as_prettier_does(hook: ModuleType) -> None:
    value = {
        "short": ["x", 'y"'],
        "empty": [],
        "text": "[\n 1, 2]",
        "objects": [{"é": [1, 2]}],
        "long": ["a" * 30, "b" * 30, "c" * 30],
    }
    assert (
        hook.formatted_json(value)
        == """{
  "short": ["x", "y\\""],
  "empty": [],
  "text": "[\\n 1, 2]",
  "objects": [
    {
      "é": [1, 2]
    }
  ],
  "long": [
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "cccccccccccccccccccccccccccccc"
  ]
}"""
    )


@pytest.mark.parametrize(("length", "lines"), [(85, 3), (86, 5)])
def test_a_list_is_broken_where_it_is_wider_than_100_columns(
    length: int, lines: int, hook: ModuleType
) -> None:
    """One column more is for the comma that may follow."""
    text = hook.formatted_json({"name": ["x" * length]})
    assert len(text.splitlines()) == lines
    assert max(len(line) for line in text.splitlines()) <= 99


class TestOverAnExistingRepository:
    """What hooks/pre_gen_project.py copied is compared after rendering."""

    def test_only_copies_of_changed_files_stay(self, hook: ModuleType, project: Path) -> None:
        copies = project.with_name("bots.before-1")
        for folder, readme in ((project, "new"), (copies, "edited")):
            (folder / "src" / "deep").mkdir(parents=True)
            (folder / "src" / "deep" / "mine.ts").write_text("mine")
            (folder / "README.md").write_text(readme)
        assert hook.drop_unchanged_copies(project, copies) == ["README.md"]
        assert template.files(copies) == {"README.md": b"edited"}
        assert not (copies / "src").exists()
        (copies / "README.md").write_text("new")
        assert hook.drop_unchanged_copies(project, copies) == []
        assert not copies.exists()

    def test_a_copy_of_the_same_size_and_time_may_have_another_content(
        self, hook: ModuleType, project: Path
    ) -> None:
        """Cookiecutter may write within the same tick of the clock as the user."""
        copies = project.with_name("bots.before-1")
        copies.mkdir()
        for folder, readme in ((project, "theirs"), (copies, "edited")):
            (folder / "README.md").write_text(readme)
            os.utime(folder / "README.md", (1, 1))
        assert hook.drop_unchanged_copies(project, copies) == ["README.md"]

    @pytest.mark.parametrize("mode", ["skipped", "overwritten"])
    def test_skipped_files_stay_as_they_are(
        self, mode: str, hook: ModuleType, project: Path
    ) -> None:
        copies = project.with_name("bots.before-1")
        for folder in (project, copies):
            (folder / "src").mkdir(parents=True)
            (folder / "src" / "a.ts").write_text("mine")
            (folder / "medplum.config.json").write_text('{"bots": [{"name": "a"}]}')
        bots = [{"name": "a"}]
        files = {"src/a.ts": "theirs", "src/b.ts": "theirs"}
        write_overlay(
            project, "a", files, chosen_by={"license": ["MIT"]}, bots=bots, scripts={"s": "s"}
        )
        (project / ".overlays" / "copies.txt").write_text(str(copies))
        (project / ".overlays" / "existing-files.txt").write_text(f"{mode}\n")
        existing = hook.find_existing(project)
        hook.add_overlays(project, {"license": "MIT", "bot_runtime": "vmcontext"}, existing)
        config = json.loads((project / "medplum.config.json").read_text())
        scripts = json.loads((project / "package.json").read_text())["scripts"]
        assert (project / "src" / "b.ts").read_text() == "theirs"
        assert scripts["s"] == "s", "package.json was not there before"
        if mode == "skipped":
            assert (project / "src" / "a.ts").read_text() == "mine"
            assert config == {"bots": [{"name": "a"}]}
        else:
            assert (project / "src" / "a.ts").read_text() == "theirs"
            assert len(config["bots"]) == 2


def test_a_file_that_was_skipped_is_not_in_the_manifest(
    hook: ModuleType, project: Path, tmp_path: Path
) -> None:
    """It is the user's: the template did not write it."""
    source, copies = tmp_path / "source", tmp_path / "bots.before-1"
    for folder in (source, copies):
        folder.mkdir()
        (folder / "README.md").write_text("")
    (source / "package.json").write_text("")
    existing = hook.Existing(copies, skipped=True)
    hook.write_manifest(project, {"version": "1.2.0"}, source, [], existing)
    manifest = json.loads((project / "tools" / "template.json").read_text())
    assert list(manifest["files"]) == ["package.json"]


@pytest.mark.parametrize("copied", [True, False])
def test_what_cannot_be_completed_is_one_line_that_names_the_copies(
    copied: bool, project: Path, tmp_path: Path
) -> None:
    """The disk is full, for example. Here a folder that the hook needs is missing."""
    hook = rendered_hook(tmp_path, "post_gen_project", bot_runtime="awslambda")
    copies = tmp_path / "bots.before-1"
    (project / ".overlays").mkdir()
    if copied:
        (project / ".overlays" / "copies.txt").write_text(str(copies))
        (project / ".overlays" / "existing-files.txt").write_text("overwritten\n")
    (project / "tools" / "bin" / "medplum-bots.cjs").unlink()
    done = template.run(sys.executable, hook, cwd=project, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {project} is not complete: [Errno 2] ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"; your versions of its files are in {copies}\n") == copied


def test_the_notice_of_an_unfinished_repository_is_removed(
    hook: ModuleType, project: Path, baked: Callable[..., Path]
) -> None:
    source = (template.SOURCE / "README.md").read_text(encoding="utf-8")
    assert "not finished" in source
    (project / "README.md").write_text(source, encoding="utf-8")
    hook.remove_notice(project / "README.md")
    text = (project / "README.md").read_text(encoding="utf-8")
    assert "unfinished" not in text
    assert text.splitlines()[2].startswith("{{ cookiecutter.description")
    assert "unfinished" not in (baked() / "README.md").read_text(encoding="utf-8")


@posix
def test_files_of_a_read_only_template_can_be_written(
    hook: ModuleType, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "package.json").write_text("")
    (project / "key.pem").write_text("not of the template")
    for name in ("package.json", "key.pem"):
        (project / name).chmod(0o444)
    hook.make_writable(project, tmp_path / "source")
    assert (project / "package.json").stat().st_mode & 0o777 == 0o644
    assert (project / "key.pem").stat().st_mode & 0o777 == 0o444


@posix
def test_the_command_line_is_executable_as_npm_makes_it(hook: ModuleType, project: Path) -> None:
    program = project / "tools" / "bin" / "medplum-bots.cjs"
    program.chmod(0o644)  # as from a zip file
    hook.make_executable(project)
    assert program.stat().st_mode & 0o777 == 0o755


def test_a_first_commit_holds_everything(hook: ModuleType, project: Path) -> None:
    assert hook.create_repository(project) is None
    assert template.git("status", "--porcelain", cwd=project) == ""
    assert template.git("log", "--format=%s", cwd=project) == "Start from medplum-bots\n"
    assert template.git("branch", "--show-current", cwd=project) == "main\n"
    assert "git repository already" in hook.create_repository(project)


def test_the_first_branch_is_the_one_that_pipelines_deploy(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = "[user]\n    name = Tester\n    email = tester@example.invalid\n"
    (tmp_path / "gitconfig").write_text(f"{user}[init]\n    defaultBranch = trunk\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert hook.create_repository(project) is None
    assert template.git("branch", "--show-current", cwd=project) == "main\n"


def test_a_git_hook_that_started_us_does_not_get_our_commit(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    template.git("init", "--quiet", other, cwd=tmp_path)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert hook.create_repository(project) is None
    assert (project / ".git" / "HEAD").exists()


def test_a_folder_inside_another_repository_gets_none_of_its_own(
    hook: ModuleType, project: Path, tmp_path: Path
) -> None:
    """The outer repository would not have the files of an inner one, nor would a clone of it."""
    template.git("init", "--quiet", cwd=tmp_path)
    problem = hook.create_repository(project)
    assert problem == f"no git repository: this folder is inside {tmp_path}; commit it there"
    assert not (project / ".git").exists()


@posix
def test_a_repository_that_git_refuses_to_read_is_an_outer_one_too(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git refuses a repository of another user, as in a container with a mounted folder."""
    template.git("init", "--quiet", cwd=tmp_path)
    command(tmp_path / "bin", "git", "raise SystemExit('fatal: detected dubious ownership')")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert f"this folder is inside {tmp_path}" in hook.create_repository(project)


def test_a_folder_that_another_repository_ignores_gets_its_own(
    hook: ModuleType, project: Path, tmp_path: Path
) -> None:
    template.git("init", "--quiet", cwd=tmp_path)
    (tmp_path / ".gitignore").write_text("/bots/\n")
    assert hook.create_repository(project) is None
    assert template.git("log", "--format=%s", cwd=project) == "Start from medplum-bots\n"


@posix
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("pre-commit", ""),
        ("commit-msg", ""),
        ("nothing", "[commit]\n    gpgSign = true\n[gpg]\n    program = false\n"),
    ],
)
def test_the_users_hooks_and_signing_do_not_stop_the_first_commit(
    name: str,
    config: str,
    hook: ModuleType,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command(tmp_path / "hooks", name, "raise SystemExit('must not run')")
    user = "[user]\n    name = Tester\n    email = tester@example.invalid\n"
    hooks = f"[core]\n    hooksPath = {tmp_path / 'hooks'}\n"
    (tmp_path / "gitconfig").write_text(user + hooks + config)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert hook.create_repository(project) is None


@posix
def test_a_hook_that_stops_the_commit_is_quoted(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git runs prepare-commit-msg with --no-verify too."""
    command(tmp_path / "hooks", "prepare-commit-msg", "raise SystemExit('no ticket in the branch')")
    user = "[user]\n    name = Tester\n    email = tester@example.invalid\n"
    (tmp_path / "gitconfig").write_text(f"{user}[core]\n    hooksPath = {tmp_path / 'hooks'}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert hook.create_repository(project) == (
        "no first commit: git commit failed (no ticket in the branch); later: git commit"
    )


def test_without_git_one_line_says_what_to_do_later(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert "git was not found; later: git init && " in hook.create_repository(project)


@posix
def test_without_a_name_git_keeps_everything_staged(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gitconfig").write_text("[user]\n    useConfigOnly = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    problem = hook.create_repository(project)
    assert problem.startswith("no first commit: git commit failed (fatal: ")
    assert "\n" not in problem
    assert template.git("diff", "--cached", "--name-only", cwd=project).split() == sorted(
        template.files(project)
    )


@posix
@pytest.mark.parametrize(
    ("node", "npm", "words"),
    [
        (None, None, "Node is not found; install Node 24 (24.2.0 or newer) or Node 26, then"),
        ("print('v24.2.0')", None, "npm was not found, which comes with Node; later: npm ci"),
        ("raise SystemExit('Error:\\n\\nno node')", "", "Node is broken (no node); install Node"),
        ("print('v20.19.4')", "raise SystemExit('must not run')", "Node is v20.19.4; install"),
        ("print('v24.1.9')", "raise SystemExit('must not run')", "Node is v24.1.9"),
        ("print('v25.3.0')", "raise SystemExit('must not run')", "Node is v25.3.0"),
        ("raise SystemExit(1)", "raise SystemExit('must not run')", "install Node 24 (24.2.0"),
        (
            "print('v24.2.0')",
            "raise SystemExit('npm error code ENOTFOUND\\nmore')",
            "npm ci failed (ENOTFOUND); later: npm ci",
        ),
        ("print('v26.0.0')", "raise SystemExit('what')", "npm ci failed (what); later: npm ci"),
        (
            "print('v24.2.0')",
            "raise SystemExit('npm error No workspaces found:\\nnpm error A complete log is in x')",
            "npm ci failed (No workspaces found:); later: npm ci",
        ),
    ],
)  # fmt: skip
def test_what_keeps_npm_from_installing_is_one_line(
    node: str | None,
    npm: str | None,
    words: str,
    hook: ModuleType,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, script in (("node", node), ("npm", npm)):
        if script:
            command(tmp_path / "bin", name, script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    problem = hook.install_packages(project)
    assert words in problem
    assert "\n" not in problem


@posix
def test_ctrl_c_ends_npm_and_nothing_else(project: Path, tmp_path: Path) -> None:
    """Cookiecutter deletes a repository if its hook fails, so the exit code is 0."""
    answers = {
        "project_slug": "bots",
        "bot_runtime": "awslambda",
        "init_git": False,
        "install_dependencies": True,
    }
    (project / ".overlays").mkdir()
    command(tmp_path / "bin", "node", "print('v24.10.0')")
    command(
        tmp_path / "bin",
        "npm",
        "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)",
    )
    # A shell's background jobs, and what they start, ignore Ctrl+C.
    listen = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    line = (sys.executable, "-c", f"{listen}; runpy.run_path(sys.argv[1], run_name='__main__')")
    done = template.run(
        *line,
        rendered_hook(tmp_path, "post_gen_project", **answers),
        cwd=project,
        env={"PATH": str(tmp_path / "bin")},
    )
    assert (
        "Note: no npm packages: npm ci failed (stopped by Ctrl+C); later: npm ci\n" in done.stdout
    )
    assert "  npm run build\n" in done.stdout
    assert done.stderr == ""


ESBUILD_WORKS = """
import pathlib, sys
pathlib.Path("called").write_text(" ".join(sys.argv[1:]))
"""


@posix
def test_npm_installs_exactly_the_lock_file_whatever_the_users_settings(
    hook: ModuleType,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(tmp_path / "bin", "node", "print('v24.10.0')")
    command(tmp_path / "bin", "npm", ESBUILD_WORKS)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert hook.install_packages(project) is None
    arguments = (project / "called").read_text().split()
    assert arguments[0] == "ci"
    assert {"--include=dev", "--include=optional", "--no-dry-run"} <= set(arguments)
    assert "--prefer-offline" in arguments, "packages in the cache need no network"
    assert [word for word in arguments if word.startswith("--fetch-timeout=")], "or it may hang"
    assert "Installing the npm packages with npm ci (Ctrl+C to skip)" in capsys.readouterr().out


@posix
def test_packages_that_npm_left_out_are_noticed(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """npm succeeds without dev dependencies if the user's settings say so."""
    is_version = "sys.argv[1:] == ['--version']"
    command(tmp_path / "bin", "node", f"import sys; print('v24.10.0'); sys.exit(not {is_version})")
    command(tmp_path / "bin", "npm", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "npm packages are missing" in hook.install_packages(project)


@posix
def test_a_registry_that_never_answers_does_not_stop_the_run_for_good(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path / "bin", "node", "print('v24.10.0')")
    command(tmp_path / "bin", "npm", "import time; time.sleep(20)")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(hook, "NPM_LIMIT_S", 0.2)
    problem = hook.install_packages(project)
    assert problem == "no npm packages: npm ci failed (stopped after 0.2 s); later: npm ci"


def test_programs_get_no_input(tmp_path: Path) -> None:
    """git or npm would wait for an answer that the user cannot see the question of."""
    code = (
        "import runpy, sys\n"
        "hook = runpy.run_path(sys.argv[1])\n"
        "reader = 'import sys; print(repr(sys.stdin.read()))'\n"
        "print(hook['run'](sys.executable, '-c', reader).output)"
    )
    hook = template.ROOT / "hooks" / "post_gen_project.py"
    done = template.run(sys.executable, "-c", code, hook, cwd=tmp_path, given="typed")
    assert done.stdout == "''\n"


def test_the_supported_versions_of_node_are_those_of_the_package(hook: ModuleType) -> None:
    text = (template.SOURCE / "package.json").read_text(encoding="utf-8")
    assert f'"node": "{hook.NODE_ENGINES}"' in text
    supported = ["v24.2.0", "v24.19.0", "v26.0.0", "v26.9.1"]
    others = ["v20.19.4", "v22.18.0", "v24.1.0", "v25.9.0", "v27.0.0", "", "v"]
    assert [version for version in supported + others if hook.node_is_supported(version)] == (
        supported
    )


@pytest.mark.parametrize(
    "text",
    [
        "'''",
        '"""',
        "\\",
        "\\'''",
        "';import os;os.abort()'",
        "</script>",
        "💉",
        "\u200f",
        "{",
        "\\u0027",
        'a"b',
        "%s",
    ],
)
def test_no_text_can_leave_its_literal(text: str, tmp_path: Path) -> None:
    module = template.load(
        rendered_hook(tmp_path, "post_gen_project", author=text, description=f"{text}{text}"),
        "rendered_hook",
    )
    assert json.loads(module.ANSWERS)["author"] == text
    assert text in json.loads(module.ANSWERS)["description"]


def test_a_late_failure_does_not_destroy_the_repository(project: Path, tmp_path: Path) -> None:
    """Cookiecutter deletes a repository if its hook fails."""
    answers = {"project_slug": "bots", "bot_runtime": "awslambda", "example_bots": "none"}
    hook = rendered_hook(tmp_path, "post_gen_project", **answers)  # the answer about git is missing
    (project / ".overlays").mkdir()
    done = template.run(sys.executable, hook, cwd=project)
    assert done.stderr == f"Warning: {project} is complete, but: 'init_git'\n"


@pytest.mark.parametrize("answer", ["no", "n", "0", "false", "False", False])
def test_no_means_no_in_every_version_of_cookiecutter(
    answer: object, project: Path, tmp_path: Path
) -> None:
    answers = {"bot_runtime": "awslambda", "init_git": answer, "install_dependencies": answer}
    (project / ".overlays").mkdir()
    done = template.run(
        sys.executable, rendered_hook(tmp_path, "post_gen_project", **answers), cwd=project
    )
    assert not (project / ".git").exists()
    assert "Note: " not in done.stdout
    assert "  npm ci\n" in done.stdout


class TestUnderCruft:
    """cruft generates a repository for the user, and others to compare them."""

    ANSWERS: ClassVar[dict[str, Any]] = {
        "_commit": "1234abcd",
        "bot_runtime": "awslambda",
        "init_git": True,
        "install_dependencies": True,
    }

    def test_git_and_npm_are_left_to_the_user(self, project: Path, tmp_path: Path) -> None:
        (project / ".overlays").mkdir()
        hook = rendered_hook(tmp_path, "post_gen_project", **self.ANSWERS)
        done = template.run(sys.executable, hook, cwd=project)
        assert not (project / ".git").exists()
        assert "  git init\n  npm ci\n  npm run build\n" in done.stdout

    def test_nothing_is_printed_for_a_comparison(self, tmp_path: Path) -> None:
        """A commit in this folder would break `cruft update` without a message."""
        with tempfile.TemporaryDirectory() as folder:
            project = write_project(Path(folder, "bots"))
            (project / ".overlays").mkdir()
            hook = rendered_hook(tmp_path, "post_gen_project", **self.ANSWERS)
            done = template.run(sys.executable, hook, cwd=project)
            assert (done.stdout, done.stderr) == ("", "")
            assert not (project / ".git").exists()


@posix
@pytest.mark.parametrize(
    ("here", "command"),
    [
        (".", "cd 'My Bots'"),
        ("elsewhere", "cd '../My Bots'"),
        ("My Bots", None),
    ],
)
def test_the_first_command_goes_to_the_repository(
    here: str,
    command: str | None,
    hook: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PWD", str(tmp_path / here))
    assert hook.change_folder_command(tmp_path / "My Bots") == command


@posix
def test_headings_are_bold_at_a_terminal_only(project: Path, tmp_path: Path) -> None:
    import pty

    answers = {"bot_runtime": "awslambda", "init_git": False, "install_dependencies": False}
    hook = rendered_hook(tmp_path, "post_gen_project", **answers, license="MIT")
    bots = [
        {"name": name, "subscriptions": [{"criteria": "Patient"}]} for name in ("a-bot", "b-bot")
    ]
    shown = {}
    for name, extra in (("terminal", {}), ("no color", {"NO_COLOR": "1"})):
        write_overlay(project, "a", chosen_by={"license": ["MIT"]}, title="greets", bots=bots)
        controller, terminal = pty.openpty()
        env = {**os.environ, **extra}
        subprocess.run([sys.executable, hook], cwd=project, stdout=terminal, env=env, check=True)
        os.close(terminal)
        shown[name] = os.read(controller, 100_000).decode().replace("\r\n", "\n")
        os.close(controller)
    assert "\x1b[1mCreated bots\x1b[0m\n" not in shown["no color"]
    assert "\x1b" not in shown["no color"]
    assert shown["terminal"].startswith("\x1b[1m\nCreated bots\x1b[0m\n  a-bot")
    assert re.search(r"^  a-bot, b-bot: +greets$", shown["no color"], re.MULTILINE)
