"""Each question says what it is for and what is recommended, and is checked at once."""

from __future__ import annotations

import pytest

from tests.support import template

COOKIECUTTER = template.COOKIECUTTER
PROMPTS = COOKIECUTTER["__prompts__"]


def test_every_question_is_asked_in_words() -> None:
    assert list(PROMPTS) == list(template.QUESTIONS)


@pytest.mark.parametrize(
    "name",
    [name for name, value in COOKIECUTTER.items() if isinstance(value, list) and name[0] != "_"],
)
def test_every_choice_is_explained_and_the_first_is_recommended(name: str) -> None:
    labels = {choice: label for choice, label in PROMPTS[name].items() if choice != "__prompt__"}
    missing = set(COOKIECUTTER[name]) - set(labels)
    assert not missing, f"cookiecutter.json: __prompts__: {name} lacks {missing}"
    assert list(labels) == COOKIECUTTER[name], (
        f"cookiecutter.json: __prompts__: {name} must be in the order of {COOKIECUTTER[name]}"
    )
    for choice, label in labels.items():
        assert label.startswith(f"{choice}: "), f"the label must begin with {choice}: {label}"
    recommended = [choice for choice, label in labels.items() if "(recommended" in label]
    assert recommended == [COOKIECUTTER[name][0]]


@pytest.mark.parametrize(
    "name", [name for name, value in template.QUESTIONS.items() if not isinstance(value, list)]
)
def test_every_typed_answer_is_checked_before_the_next_question(name: str) -> None:
    keys = list(COOKIECUTTER)
    check = keys[keys.index(name) + 1]
    assert check == f"__check_{name}"
    assert f"cookiecutter.{name} |" in COOKIECUTTER[check]


def test_no_trap_for_cruft() -> None:
    """Each of these breaks `cruft update` or loses files of the user."""
    assert "_copy_without_render" not in COOKIECUTTER
    assert "templates" not in COOKIECUTTER
    assert not list((template.ROOT / "hooks").glob("pre_prompt*"))
