"""A generated repository stays small enough to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import template

Baked = Callable[..., Path]
# The folder of tools/ that holds data (compressed, with their licence) and no code.
DATA = "definitions"


def lines(project: Path, pattern: str) -> dict[str, int]:
    counted = {
        path.relative_to(project).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in project.glob(pattern)
        if path.is_file() and path.parent.name != DATA
    }
    assert counted, f"nothing matches {pattern}"
    return counted


@pytest.mark.parametrize(
    ("pattern", "most"),
    [
        ("src/bots/*", 60),
        ("src/shared/*", 150),
        ("esbuild-script.mjs", 70),
        ("tools/**/*", 250),
        ("docs/*", 150),
    ],
)
@pytest.mark.parametrize("example_bots", ["all", "none"])
def test_no_file_is_long(pattern: str, most: int, example_bots: str, baked: Baked) -> None:
    long = {path: count for path, count in lines(baked(example_bots=example_bots), pattern).items() if count > most}
    assert not long, f"more than {most} lines: {long}"


def test_the_tools_stay_one_room(baked: Baked) -> None:
    """The room was drawn for 40 files and 4,000 lines; docs/decisions.md says what did not fit, and why it stayed."""
    tools = lines(baked(), "tools/**/*")
    assert len(tools) <= 50
    assert sum(tools.values()) <= 6500
    data = {path.name: path.stat().st_size for path in (baked() / "tools" / DATA).iterdir()}
    assert set(data) == {"LICENSE.txt", "fhir.json.gz", "package.json"}
    assert sum(data.values()) < 300_000


def test_the_first_bot_is_about_fifteen_lines(baked: Baked) -> None:
    bots = lines(baked(example_bots="none"), "src/bots/*")
    assert list(bots) == ["src/bots/hello-patient-bot.ts"]
    assert bots["src/bots/hello-patient-bot.ts"] <= 15


def test_every_source_file_says_its_subject_first() -> None:
    """Overlays included."""
    for path in template.template_files():
        if path.startswith(template.SOURCE.name) and path.endswith((".ts", ".mjs")):
            first = (template.ROOT / path).read_text(encoding="utf-8").split("\n")[0]
            assert first.startswith(("//", "/**", "/*")), f"{path} begins with {first!r}"
