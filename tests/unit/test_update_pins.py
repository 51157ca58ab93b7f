"""`make update` takes the newest stable version that is whole, and changes nothing but the pin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import update_pins

KNOWN = ["1.0.0", "1.2.0", "1.10.0", "1.9.0", "2.0.0-beta.1", "2.0.0", "3.0.0"]


def test_the_newest_stable_version_up_to_latest_comes_first() -> None:
    assert update_pins.candidates("x", "1.2.0", KNOWN, "2.0.0") == [
        "2.0.0",
        "1.10.0",
        "1.9.0",
        "1.2.0",
    ]
    assert update_pins.candidates("x", "3.0.0", KNOWN, "2.0.0") == ["3.0.0"]


def test_nodes_types_stay_with_node() -> None:
    assert update_pins.candidates("@types/node", "1.2.0", KNOWN, "3.0.0") == [
        "1.10.0",
        "1.9.0",
        "1.2.0",
    ]


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
    text = '{\n  "x": {{ answers }},\n  "devDependencies": {\n    "a": "1.0.0",\n    "a-b": "1.0.0"\n  }\n}\n'
    path.write_text(text)
    assert update_pins.pins(path) == {"a": "1.0.0", "a-b": "1.0.0"}
    update_pins.set_pin(path, "a", "2.0.0")
    assert path.read_text() == text.replace('"a": "1.0.0"', '"a": "2.0.0"')


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


def test_an_action_is_moved_to_the_commit_of_its_newest_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*line: str) -> str:
        if line[-1].endswith("a/unreachable"):
            raise SystemExit("Error: git ls-remote failed: no route")
        return f"{'1' * 40}\trefs/tags/v2.9.0\n{'2' * 40}\trefs/tags/v2.10.0\n{'3' * 40}\trefs/tags/v2.10.0^{{}}\n"

    monkeypatch.setattr(update_pins, "run", listed)
    workflow = tmp_path / "ci.yml"
    old = f"      - uses: a/unreachable@{'0' * 40} # v1.0.0\n      - uses: b/there@{'0' * 40} # v2.0.0\n"
    workflow.write_text(old)
    update_pins.update_actions([workflow])
    assert workflow.read_text() == old.replace(
        f"b/there@{'0' * 40} # v2.0.0", f"b/there@{'3' * 40} # v2.10.0"
    )
    assert (
        "  a/unreachable stays as it is. Error: git ls-remote failed: no route\n"
        in capsys.readouterr().out
    )
