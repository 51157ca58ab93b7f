"""The hook, imported: overlays, what was written over, git and npm that may be missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import template

posix = pytest.mark.skipif(os.name == "nt", reason="its programs and modes are POSIX ones")


@pytest.fixture(scope="session")
def hook() -> ModuleType:
    return template.load(template.ROOT / "hooks" / "post_gen_project.py", "post_gen_project")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rendered repository, as small as the hook needs it; the working folder, as Cookiecutter makes it."""
    project = tmp_path / "bots"
    project.mkdir()
    (project / "medplum.config.json").write_text('{"identifierSystem": "urn:x", "bots": []}')
    (project / "package.json").write_text('{"engines": {"node": ">=24.2.0"}, "scripts": {"build": "b"}}')
    (project / "README.md").write_text(
        "| what | where |\n| --- | --- |\n| `src/bots/` | one file, one bot |\n| `tools/` | updates replace it |\n"
    )
    monkeypatch.chdir(project)
    return project


def overlay(project: Path, name: str, files: dict[str, str] | None = None, **about: Any) -> None:
    folder = project / ".overlays" / name
    for path, text in (files or {}).items():
        (folder / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / path).write_text(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "overlay.json").write_text(json.dumps(about))


def command(folder: Path, name: str, script: str) -> None:
    """Put a small program on a PATH of its own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable} -S\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_hook_is_small() -> None:
    assert len((template.ROOT / "hooks" / "post_gen_project.py").read_text().splitlines()) < 200
    assert [path.name for path in (template.ROOT / "hooks").glob("*.py")] == ["post_gen_project.py"]


def test_overlays_come_by_answer_and_by_need(hook: ModuleType, project: Path) -> None:
    overlay(project, "a-bot", chosen_by={"example_bots": ["both"]}, needs=["shared"])
    overlay(project, "b-bot", chosen_by={"example_bots": ["none"]})
    overlay(project, "shared", needs=["deeper"])
    overlay(project, "deeper")
    overlay(project, "unused")
    chosen = hook.chosen_overlays(project / ".overlays", {"example_bots": "both"})
    assert list(chosen) == ["deeper", "shared", "a-bot"]


def test_an_overlays_files_and_entries_are_added_and_the_rest_is_gone(hook: ModuleType, project: Path) -> None:
    overlay(
        project,
        "a-bot",
        {"src/bots/a-bot.ts": "a", "tests/.hidden": "h"},
        chosen_by={"license": ["MIT"]},
        bots=[{"name": "a-bot", "secrets": ["A", "B"]}],
        scripts={"resync": "node tools/resync.ts"},
    )
    overlay(project, "other", {"src/other.ts": "o"}, chosen_by={"license": ["none"]})
    hook.add_overlays(project, {"license": "MIT", "bot_runtime": "vmcontext"})
    expected = {"README.md", "medplum.config.json", "package.json", "src/bots/a-bot.ts", "tests/.hidden"}
    assert set(template.files(project)) == expected
    config = json.loads((project / "medplum.config.json").read_text())
    assert config["bots"] == [{"name": "a-bot", "secrets": ["A", "B"], "runtimeVersion": "vmcontext"}]
    assert list(config) == ["identifierSystem", "bots"]
    scripts = json.loads((project / "package.json").read_text())["scripts"]
    assert scripts == {"build": "b", "resync": "node tools/resync.ts"}


def test_two_bots_that_write_the_same_resources_are_not_both_subscribed(hook: ModuleType, project: Path) -> None:
    subscribed = {"subscriptions": [{"criteria": "Patient"}]}
    overlay(project, "safe", chosen_by={"example_bots": ["both"]}, bots=[{"name": "safe", **subscribed}])
    overlay(
        project,
        "simple",
        chosen_by={"example_bots": ["both", "simple"]},
        rests_beside=["safe"],
        bots=[{"name": "simple", **subscribed}],
    )
    hook.add_overlays(project, {"example_bots": "both", "bot_runtime": "awslambda"})
    safe, simple = json.loads((project / "medplum.config.json").read_text())["bots"]
    assert safe["subscriptions"] == subscribed["subscriptions"]
    assert simple["subscriptions"] == []


def test_json_is_written_as_prettier_writes_it(hook: ModuleType, tmp_path: Path) -> None:
    value = {"a": ["x", "y"], "empty": [], "text": "[\\n 1, 2]", "objects": [{"b": [1, 2]}], "é": "💉"}
    hook.write_json(tmp_path / "medplum.config.json", value)
    text = (tmp_path / "medplum.config.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert '"a": ["x", "y"],\n' in text
    assert '"b": [1, 2]\n' in text
    assert '"é": "💉"\n}\n' in text
    hook.write_json(tmp_path / "package.json", value)
    assert '"a": [\n    "x",' in (tmp_path / "package.json").read_text(encoding="utf-8")


def test_only_files_that_were_written_over_stay_in_the_copy(hook: ModuleType, project: Path) -> None:
    kept = project.with_name("bots.before-1")
    for folder, readme in ((project, "new"), (kept, "edited")):
        (folder / "src" / "deep").mkdir(parents=True)
        (folder / "src" / "deep" / "mine.ts").write_text("mine")
        (folder / "README.md").write_text(readme)
    assert hook.edited_before(project, kept) == ["README.md"]
    assert template.files(kept) == {"README.md": b"edited"}
    (kept / "README.md").write_text("new")
    assert hook.edited_before(project, kept) == []
    assert not kept.exists()


@posix
def test_files_of_a_read_only_template_can_be_written(hook: ModuleType, project: Path) -> None:
    (project / "package.json").chmod(0o444)
    hook.make_writable(project)
    assert (project / "package.json").stat().st_mode & 0o777 == 0o644


def test_a_first_commit_holds_everything(hook: ModuleType, project: Path) -> None:
    assert hook.make_commit(project) is None
    assert template.git("status", "--porcelain", cwd=project) == ""
    assert template.git("log", "--format=%s", cwd=project) == "Start from medplum-bots\n"
    assert template.git("branch", "--show-current", cwd=project) == "main\n"
    assert "git repository already" in hook.make_commit(project)


def test_a_git_hook_that_started_us_does_not_get_our_commit(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template.git("init", "--quiet", cwd=tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / ".git" / "index"))
    assert hook.make_commit(project) is None
    assert (project / ".git" / "HEAD").exists()


def test_without_git_one_line_says_what_to_do_later(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert "git was not found; later: git init && " in hook.make_commit(project)


@posix
def test_without_a_name_git_keeps_everything_staged(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gitconfig").write_text("[user]\n    useConfigOnly = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert "git config user.name" in hook.make_commit(project)
    assert template.git("diff", "--cached", "--name-only", cwd=project).split() == sorted(template.files(project))


@posix
@pytest.mark.parametrize(
    ("node", "npm", "words"),
    [
        (None, None, "Node is not found; install Node 24.2.0 or newer, then run npm ci"),
        ("print('v24.2.0')", None, "Node is not found"),
        ("print('v20.19.4')", "raise SystemExit('must not run')", "Node is v20.19.4; install Node 24.2.0 or newer"),
        ("print('v24.1.9')", "raise SystemExit('must not run')", "Node is v24.1.9"),
        ("raise SystemExit(1)", "raise SystemExit('must not run')", "install Node 24.2.0"),
        ("print('v24.2.0')", "raise SystemExit('npm error code ENOTFOUND\\nmore')", "npm failed (ENOTFOUND); later"),
        ("print('v26.0.0')", "raise SystemExit('what')", "npm failed; later: npm ci"),
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
    problem = hook.install(project)
    assert words in problem
    assert "\n" not in problem


@posix
def test_ctrl_c_ends_npm_and_nothing_else(project: Path, tmp_path: Path) -> None:
    """A failing hook would have Cookiecutter delete the repository; so the rest is said, and the exit code is 0."""
    answers = {"project_slug": "bots", "bot_runtime": "awslambda", "init_git": False, "install_dependencies": True}
    (project / ".overlays").mkdir()
    command(tmp_path / "bin", "node", "print('v24.10.0')")
    command(tmp_path / "bin", "npm", "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)")
    # A shell's background jobs, and what they start, ignore Ctrl+C.
    listen = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    line = (sys.executable, "-c", f"{listen}; runpy.run_path(sys.argv[1], run_name='__main__')")
    done = template.run(*line, rendered(tmp_path, **answers), cwd=project, env={"PATH": str(tmp_path / "bin")})
    assert "Left out: no npm packages: npm failed (stopped by Ctrl+C); later: npm ci\n" in done.stdout
    assert "  npm run build\n" in done.stdout
    assert done.stderr == ""


@posix
def test_npm_installs_exactly_the_lock_file(
    hook: ModuleType,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(tmp_path / "bin", "node", "print('v24.10.0')")
    command(tmp_path / "bin", "npm", "import sys; open('called', 'w').write(' '.join(sys.argv[1:]))")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert hook.install(project) is None
    assert (project / "called").read_text().startswith("ci ")
    assert "Installing the npm packages" in capsys.readouterr().out


def rendered(folder: Path, **answers: Any) -> Path:
    """The hook as Cookiecutter renders it for these answers."""
    from cookiecutter.utils import create_env_with_context

    sys.path.insert(0, str(template.ROOT))
    context = {"cookiecutter": {"_extensions": ["template_extensions.MedplumBots"], **answers}}
    source = (template.ROOT / "hooks" / "post_gen_project.py").read_text(encoding="utf-8")
    text = create_env_with_context(context).from_string(source).render(**context)
    sys.path.remove(str(template.ROOT))
    path = folder / "hook.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    ["'''", '"""', "\\", "\\'''", "';import os;os.abort()'", "</script>", "💉", "\u200f", "{", "\\u0027", 'a"b', "%s"],
)
def test_no_text_can_leave_its_literal(text: str, tmp_path: Path) -> None:
    module = template.load(rendered(tmp_path, author=text, description=f"{text}{text}"), "rendered_hook")
    assert json.loads(module.CONTEXT)["author"] == text
    assert text in json.loads(module.CONTEXT)["description"]
    assert "uvx cruft create" in json.loads(module.RECREATE)


def test_a_late_failure_does_not_destroy_the_repository(project: Path, tmp_path: Path) -> None:
    """Whatever goes wrong after the files are there costs a warning: a failing hook would delete them."""
    answers = {"project_slug": "bots", "bot_runtime": "awslambda", "init_git": False, "install_dependencies": True}
    hook = rendered(tmp_path, **answers)
    (project / "package.json").write_text('{"scripts": {}}')  # no engines: installing fails on it
    (project / ".overlays").mkdir()
    done = template.run(sys.executable, hook, cwd=project)
    assert done.stderr == f"Warning: {project} is complete, but finishing it failed: 'engines'\n"


@posix
def test_a_terminal_gets_a_tree_in_colours_and_the_whole_command_on_one_line(project: Path, tmp_path: Path) -> None:
    import pty

    answers = {"project_slug": "bots", "bot_runtime": "awslambda", "init_git": False, "install_dependencies": True}
    command(tmp_path / "bin", "node", "print('v24.10.0')")
    command(tmp_path / "bin", "npm", "")
    hook = rendered(tmp_path, **answers, license="MIT", description="d" * 150)
    bots = [{"name": "a-bot", "subscriptions": [{"criteria": "Patient"}]}]
    shown = {}
    for name, extra in (("colour", {}), ("plain", {"NO_COLOR": "1"}), ("narrow", {"COLUMNS": "40"})):
        overlay(project, "a-bot", chosen_by={"license": ["MIT"]}, title="greets and greets and greets", bots=bots)
        ours, theirs = pty.openpty()
        env = {**os.environ, "PATH": str(tmp_path / "bin"), "TERM": "xterm-256color", "COLUMNS": "80", **extra}
        subprocess.run([sys.executable, hook], cwd=project, stdout=theirs, env=env, check=True)
        os.close(theirs)
        shown[name] = os.read(ours, 100_000).decode().replace("\r\n", "\n")
        os.close(ours)
    assert "Installing the npm packages (npm ci) ..." in shown["colour"].partition("Made bots")[0]
    assert "\x1b[1;32mMade bots" in shown["colour"]
    assert "\x1b[36m" in shown["colour"]
    assert not re.search(r"\x1b\[[\d;]*3\d", shown["plain"])
    words = {name: re.sub(r"\x1b\[[\d;]*m| +$", "", text, flags=re.MULTILINE) for name, text in shown.items()}
    tree = """
Made bots
├── src/bots/                one file, one bot
│   └── a-bot                greets and greets and greets
└── tools/                   updates replace it
"""
    assert tree in words["colour"]
    assert tree in words["plain"]
    assert "\n│   └── a-bot                greets and\n│       greets and greets\n" in words["narrow"]
    assert "d" * 150 in words["colour"]
