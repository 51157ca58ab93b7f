"""`make update` takes the newest stable version that is whole, and changes nothing but the pin."""

from __future__ import annotations

from pathlib import Path

from tests.support import update_pins

KNOWN = ["1.0.0", "1.2.0", "1.10.0", "1.9.0", "2.0.0-beta.1", "2.0.0", "3.0.0"]


def test_the_newest_stable_version_up_to_latest_comes_first() -> None:
    assert update_pins.candidates("x", "1.2.0", KNOWN, "2.0.0") == ["2.0.0", "1.10.0", "1.9.0", "1.2.0"]
    assert update_pins.candidates("x", "3.0.0", KNOWN, "2.0.0") == ["3.0.0"]


def test_nodes_types_stay_with_node() -> None:
    assert update_pins.candidates("@types/node", "1.2.0", KNOWN, "3.0.0") == ["1.10.0", "1.9.0", "1.2.0"]


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
