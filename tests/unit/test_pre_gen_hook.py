"""hooks/pre_gen_project.py copies the files that Cookiecutter is about to overwrite."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import template
from tests.support.hooks import GOOD_ANSWERS, load_hook, rendered_hook


@pytest.fixture(scope="session")
def hook() -> ModuleType:
    return load_hook("pre_gen_project")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A template with one file of its own and one in an overlay."""
    source = tmp_path / "template"
    for path in (
        "README.md",
        ".overlays/a-bot/overlay.json",
        ".overlays/a-bot/files/src/a-bot.ts",
        ".overlays/existing-files.txt",
    ):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text("")
    return source


def test_a_new_folder_stays_empty(hook: ModuleType, source: Path, tmp_path: Path) -> None:
    project = tmp_path / "new"
    project.mkdir()
    hook.keep_existing_files(project, source)
    assert list(project.iterdir()) == []
    assert not list(tmp_path.glob("new.before*"))


def test_a_folder_with_other_files_only_stays_as_it_is(
    hook: ModuleType, source: Path, project: Path
) -> None:
    (project / "README.md").rename(project / "notes.md")
    hook.keep_existing_files(project, source)
    assert not (project / ".overlays").exists()
    assert not list(project.parent.glob("bots.before*"))


def test_files_of_the_template_and_its_overlays_are_copied(
    hook: ModuleType, source: Path, project: Path
) -> None:
    (project / "src").mkdir()
    (project / "src" / "a-bot.ts").write_text("edited")
    (project / "src" / "mine.ts").write_text("not in the template")
    hook.keep_existing_files(project, source)
    copies = project.with_name("bots.before-1")
    assert template.files(copies) == {"README.md": b"# Bots\n", "src/a-bot.ts": b"edited"}
    assert (project / ".overlays" / "copies.txt").read_text() == str(copies)


def test_earlier_copies_are_not_touched(hook: ModuleType, source: Path, project: Path) -> None:
    project.with_name("bots.before-1").mkdir()
    hook.keep_existing_files(project, source)
    assert list(project.with_name("bots.before-1").iterdir()) == []
    assert template.files(project.with_name("bots.before-2")) == {"README.md": b"# Bots\n"}


def test_the_target_of_a_symbolic_link_is_copied(
    hook: ModuleType, source: Path, project: Path, tmp_path: Path
) -> None:
    """Cookiecutter writes through a link, so the file it points to is overwritten."""
    (tmp_path / "notes.md").write_text("notes")
    (project / "README.md").unlink()
    (project / "README.md").symlink_to(tmp_path / "notes.md")
    hook.keep_existing_files(project, source)
    copy = project.with_name("bots.before-1") / "README.md"
    assert copy.read_text() == "notes"
    assert not copy.is_symlink()


def test_what_a_run_without_hooks_left_is_removed(
    hook: ModuleType, source: Path, project: Path
) -> None:
    (project / ".overlays" / "old-bot").mkdir(parents=True)
    hook.keep_existing_files(project, source)
    assert {path.name for path in (project / ".overlays").iterdir()} == {
        "copies.txt",
        "existing-files.txt",
    }


def test_without_a_place_beside_it_the_copies_are_in_a_temporary_folder(
    hook: ModuleType, source: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(hook.Path, "mkdir", refuse)
        folder = hook.new_folder_for_copies(project)
    assert folder.is_dir()
    assert folder.parent != project.parent
    folder.rmdir()


def test_copies_that_cannot_be_made_stop_the_run(project: Path, tmp_path: Path) -> None:
    """Nothing may be overwritten then. A file lies where the staging folder has to be."""
    hook = rendered_hook(tmp_path, "pre_gen_project", **GOOD_ANSWERS)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "README.md").write_text("")
    (project / ".overlays").write_text("")
    done = template.run(sys.executable, hook, cwd=project, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: cannot write over {project}: ")
    assert done.stderr.endswith("; nothing was changed\n")
    assert done.stderr.count("\n") == 1


def test_a_wrong_answer_of_a_replay_is_one_line(project: Path, tmp_path: Path) -> None:
    """Cookiecutter then deletes the new folder."""
    hook = rendered_hook(tmp_path, "pre_gen_project", **{**GOOD_ANSWERS, "license": "GPL"})
    done = template.run(sys.executable, hook, cwd=project, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: license 'GPL': use one of: Apache-2.0, MIT, none\n"


def file_for_a_folder(project: Path) -> None:
    (project / "src").write_text("mine")


def folder_for_a_file(project: Path) -> None:
    (project / "src" / "a-bot.ts").mkdir(parents=True)


def read_only_file(project: Path) -> None:
    (project / "README.md").chmod(0o444)


def read_only_folder(project: Path) -> None:
    (project / "src").mkdir(mode=0o555)


def read_only_project(project: Path) -> None:
    project.chmod(0o555)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (file_for_a_folder, "src is a file, and the template has a folder there"),
        (folder_for_a_file, f"{Path('src', 'a-bot.ts')} is a folder, and the template has a file"),
        (read_only_file, "README.md is read-only"),
        (read_only_folder, "the folder src cannot be written"),
        (read_only_project, "the folder {project} cannot be written"),
    ],
)
def test_what_would_stop_cookiecutter_in_the_middle_is_found_first(
    prepare: Callable[[Path], None],
    words: str,
    hook: ModuleType,
    source: Path,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare(project)
    # For root, and for folders on Windows, everything can be written.
    modes = {path: path.stat().st_mode for path in (project, *project.rglob("*"))}
    monkeypatch.setattr(hook.os, "access", lambda path, _: modes[path] & 0o200)
    with pytest.raises(hook.ObstacleError) as stop:
        hook.keep_existing_files(project, source)
    project.chmod(0o755)
    assert str(stop.value).startswith(words.format(project=project))
    assert not list(project.parent.glob("bots.before*"))
    assert not (project / ".overlays").exists()
