"""`make release` refuses what is not ready, and changes exactly the version and the changelog."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from maintenance import release
from tests.support import template

TODAY = datetime.date(2026, 12, 1)
CHANGELOG = """# Changelog

## Unreleased

- Something new.

## 0.1.0 (2026-11-01)

The first version.
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The files that a release changes, at version 0.1.0 whatever the template's version is."""
    for name, line in release.VERSION_LINES.items():
        text = (template.ROOT / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(line.sub(r"\g<1>0.1.0\g<3>", text), encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    template.commit_all(tmp_path, "First")
    return tmp_path


def test_a_release_is_a_commit_and_a_tag(repository: Path) -> None:
    release.prepare(repository, "1.2.0", TODAY)
    assert template.git("describe", "--exact-match", cwd=repository) == "v1.2.0\n"
    assert template.git("status", "--porcelain", cwd=repository) == ""
    changed = template.git("show", "--format=%s", "--unified=0", cwd=repository).splitlines()
    assert changed[0] == "Release 1.2.0"
    added = [line for line in changed if line.startswith("+") and not line.startswith("+++")]
    assert set(added) == {
        "+",
        "+## 1.2.0 (2026-12-01)",
        '+version = "1.2.0"',
        '+VERSION = "1.2.0"',
    }
    changelog = (repository / "CHANGELOG.md").read_text()
    assert release.notes(changelog, "1.2.0") == "- Something new."
    assert release.notes(changelog, "0.1.0") == "The first version."
    assert release.notes(changelog, "Unreleased") == ""


def test_the_current_version_can_be_released_until_it_is_tagged(repository: Path) -> None:
    release.check(repository, release.current_version(repository))
    template.git("tag", f"v{release.current_version(repository)}", cwd=repository)
    with pytest.raises(release.ReleaseError, match="exists already"):
        release.check(repository, release.current_version(repository))


def on_another_branch(repository: Path) -> None:
    template.git("switch", "--quiet", "--create", "other", cwd=repository)


def with_an_edit(repository: Path) -> None:
    (repository / "pyproject.toml").write_text("")


def with_nothing_new(repository: Path) -> None:
    text = CHANGELOG.replace("- Something new.\n", "")
    (repository / "CHANGELOG.md").write_text(text)
    template.commit_all(repository, "Nothing")


@pytest.mark.parametrize(
    ("version", "prepare", "words"),
    [
        ("1.2", None, "is not a version; for example: 1.2.0"),
        ("v1.2.0", None, "is not a version"),
        ("0.0.9", None, "is older than"),
        ("1.2.0", on_another_branch, "the branch is other; releases are made on main"),
        ("1.2.0", with_an_edit, "uncommitted changes"),
        ("1.2.0", with_nothing_new, "nothing under ## Unreleased"),
    ],
)
def test_what_is_not_ready_is_refused_and_changes_nothing(
    version: str, prepare: Callable[[Path], None] | None, words: str, repository: Path
) -> None:
    if prepare:
        prepare(repository)
    before = template.git("rev-parse", "HEAD", cwd=repository)
    with pytest.raises(release.ReleaseError, match=words):
        release.prepare(repository, version, TODAY)
    assert template.git("rev-parse", "HEAD", cwd=repository) == before
    assert template.git("tag", cwd=repository) == ""


@pytest.mark.parametrize("setting", ["commit.gpgSign", "tag.gpgSign"])
def test_a_key_that_cannot_sign_leaves_everything_as_it_was(setting: str, repository: Path) -> None:
    """So that the same command works once the key is there."""
    template.git("config", setting, "true", cwd=repository)
    template.git("config", "gpg.program", "false", cwd=repository)
    before = template.git("rev-parse", "HEAD", cwd=repository)
    with pytest.raises(release.ReleaseError, match=f"git {setting.split('.')[0]} failed: "):
        release.prepare(repository, "1.2.0", TODAY)
    assert template.git("rev-parse", "HEAD", cwd=repository) == before
    assert template.git("status", "--porcelain", cwd=repository) == ""
    template.git("config", setting, "false", cwd=repository)
    release.prepare(repository, "1.2.0", TODAY)


def test_the_templates_own_changelog_and_versions_can_be_released() -> None:
    """Right after a release, nothing is under Unreleased."""
    changelog = (template.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = f"\n## {release.current_version(template.ROOT)} (" in changelog
    assert released or release.notes(changelog, "Unreleased")
    for name, line in release.VERSION_LINES.items():
        text = (template.ROOT / name).read_text(encoding="utf-8")
        assert [found[1] for found in line.findall(text)] == [
            release.current_version(template.ROOT)
        ], name
