"""The template's own documents are right about links, pictures, questions and commands."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tests.support import template

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted((template.ROOT / "docs").glob("*.md"))),
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_make_targets_are_there(name: str) -> None:
    document = template.ROOT / name
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (document.parent / target).exists(), f"{name} points at {target}"
    targets = re.findall(
        r"^([a-z-]+):", (template.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, f"{name}: make {target}"


def test_the_readme_names_every_question_and_choice() -> None:
    text = (template.ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*) \|$", text, re.MULTILINE))
    asked = {
        question: row for names, row in rows.items() for question in re.findall(r"`(\w+)`", names)
    }
    assert set(asked) == {name for name in template.QUESTIONS if not name.startswith("_")}
    for question, default in template.QUESTIONS.items():
        if isinstance(default, list):
            *_, shown = asked[question].split(" | ")
            assert shown.strip("`") == default[0], question
            missing = [choice for choice in default if f"`{choice}`" not in asked[question]]
            assert not missing, f"README.md: the row of {question} lacks {missing}"


def test_the_pictures_are_small_and_load_nothing() -> None:
    pictures = template.ROOT / "docs" / "pictures"
    assert (pictures / "page.png").read_bytes().startswith(b"\x89PNG")
    assert (pictures / "page.png").stat().st_size < 200_000
    text = (pictures / "demo.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)  # noqa: S314 -- our own
    assert "The&#160;external&#160;server&#160;followed&#160;every&#160;step." in text
    assert not re.search(r"url\(\"?http|@import|<script", text)
