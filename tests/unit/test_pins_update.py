"""`make update` takes the newest stable version that is whole, and changes nothing but the pin."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from maintenance import update_pins
from tests.support import template

BEFORE = datetime(2026, 11, 23, tzinfo=timezone.utc)
OLD, YOUNG = "2026-11-01T12:00:00.000Z", "2026-11-24T12:00:00.000Z"
PUBLISHED = {
    "created": OLD,
    **dict.fromkeys(["1.0.0", "1.2.0", "1.10.0", "1.9.0", "2.0.0-beta.1", "2.0.0", "3.0.0"], OLD),
}


def candidates(name: str, pinned: str, latest: str) -> list[str]:
    return update_pins.candidates(name, pinned, PUBLISHED, latest, BEFORE)


def test_the_newest_stable_version_up_to_latest_comes_first() -> None:
    assert candidates("x", "1.2.0", "2.0.0") == ["2.0.0", "1.10.0", "1.9.0", "1.2.0"]
    assert candidates("x", "3.0.0", "2.0.0") == ["3.0.0"]


@pytest.mark.parametrize("name", ["@types/node", "node-fetch"])
def test_some_packages_keep_their_major_version(name: str) -> None:
    assert candidates(name, "1.2.0", "3.0.0") == ["1.10.0", "1.9.0", "1.2.0"]


def test_nothing_younger_than_seven_days_is_taken() -> None:
    times = {**PUBLISHED, "2.0.0": YOUNG}
    taken = update_pins.candidates("x", "1.9.0", times, "2.0.0", BEFORE)
    assert taken == ["1.10.0", "1.9.0"]
    assert update_pins.newest_allowed() <= datetime.now(tz=timezone.utc) - timedelta(days=7)


def test_a_package_that_comes_with_another_has_the_same_version() -> None:
    published = dict.fromkeys(["1.2.0", "1.2.1", "1.2.9", "1.3.0"], OLD) | {"1.2.10": YOUNG}
    assert update_pins.newest_patch("1.2.1", published, BEFORE) == "1.2.1"
    assert update_pins.newest_patch("~1.2.1", published, BEFORE) == "1.2.9"


def test_a_pin_that_is_too_young_is_moved_back() -> None:
    times = {**PUBLISHED, "2.0.0": YOUNG}
    assert update_pins.candidates("x", "2.0.0", times, "2.0.0", BEFORE)[0] == "1.10.0"
    assert update_pins.candidates("x", "9.0.0", {"9.0.0": YOUNG}, "9.0.0", BEFORE) == ["9.0.0"]


def test_a_version_without_all_its_platforms_is_seen() -> None:
    packages = {
        "": {},
        "node_modules/whole": {"optionalDependencies": {"a": "1.0.0", "b": "1.0.0"}},
        "node_modules/@x/torn": {"optionalDependencies": {"a": "1.0.0", "c": "1.0.0"}},
        "node_modules/a": {},
        "node_modules/whole/node_modules/b": {},
    }
    assert update_pins.incomplete(packages) == {"@x/torn"}


def test_a_pin_is_moved_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "package.json"
    text = (
        '{\n  "x": {{ answers }},\n'
        '  "devDependencies": {\n    "a": "1.0.0",\n    "a-b": "1.0.0"\n  }\n}\n'
    )
    path.write_text(text)
    assert update_pins.pins(path) == {"a": "1.0.0", "a-b": "1.0.0"}
    update_pins.set_pin(path, "a", "2.0.0")
    assert path.read_text() == text.replace('"a": "1.0.0"', '"a": "2.0.0"')


def test_a_replacement_gets_the_oldest_version_that_its_owner_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"vite@9.0.0": {"lightningcss": "^2.1.0"}, "node-fetch@2.8.0": {"whatwg-url": "~5.1.0"}}
    monkeypatch.setattr(update_pins, "SOURCE", tmp_path)
    monkeypatch.setattr(update_pins, "npm_view", lambda package, _: asked[package])
    for name in update_pins.REPLACEMENTS:
        file = tmp_path / "tools" / "replacements" / name / "package.json"
        file.parent.mkdir(parents=True)
        file.write_text(f'{{\n  "name": "{name}",\n  "version": "1.0.0"\n}}\n')
    update_pins.update_replacements({"vite": "9.0.0", "node-fetch": "2.8.0"})
    for name, version in {"lightningcss": "2.1.0", "whatwg-url": "5.1.0"}.items():
        file = tmp_path / "tools" / "replacements" / name / "package.json"
        assert file.read_text() == f'{{\n  "name": "{name}",\n  "version": "{version}"\n}}\n'


def test_files_are_moved_together_or_not_at_all(tmp_path: Path) -> None:
    before = {"package.json": "pins", "package-lock.json": "lock"}
    for name, text in before.items():
        (tmp_path / name).write_text(text)

    def update(*_: object) -> None:
        with update_pins.all_or_none([tmp_path]):
            (tmp_path / "package.json").write_text("moved")
            (tmp_path / "package-lock.json").unlink()
            raise SystemExit("Error: the registry is gone")

    with pytest.raises(SystemExit):
        update()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_an_action_is_moved_to_the_commit_of_its_newest_release_that_is_old_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    action = tmp_path / "github" / "b" / "there"
    action.mkdir(parents=True)
    commits = {}
    for version, date in (("2.9.0", OLD), ("2.10.0", OLD), ("2.11.0", YOUNG)):
        monkeypatch.setenv("GIT_COMMITTER_DATE", date)
        (action / "file").write_text(version)
        template.commit_all(action, version)
        template.git("tag", "--annotate", "--message", version, f"v{version}", cwd=action)
        commits[version] = template.git("rev-parse", "HEAD", cwd=action).strip()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text(
        f'[url "{(tmp_path / "github").as_uri()}/"]\n  insteadOf = https://github.com/\n'
    )
    workflow = tmp_path / "ci.yml"
    zeros = "0" * 40
    old = f"      - uses: a/unreachable@{zeros} # v1.0.0\n      - uses: b/there@{zeros} # v2.0.0\n"
    workflow.write_text(old)
    update_pins.update_actions([workflow], BEFORE)
    assert workflow.read_text() == old.replace(
        f"b/there@{zeros} # v2.0.0", f"b/there@{commits['2.10.0']} # v2.10.0"
    )
    assert "  a/unreachable keeps its pin. Error: git ls-remote" in capsys.readouterr().out
