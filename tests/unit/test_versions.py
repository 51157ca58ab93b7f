"""Versions of Python and cruft that are too old are refused with one line that says what to do."""

from __future__ import annotations

import ast
import sys
from types import ModuleType

import pytest
from jinja2 import Environment

import needs_cookiecutter_2_1_or_cruft_2_16 as versions
from tests.support import template


@pytest.mark.parametrize(
    ("python", "cruft", "words"),
    [
        ((3, 8, 18), None, "needs Python 3.10 or newer, and this is 3.8.18; for example: uvx"),
        ((3, 9, 0), "2.16.0", "needs Python 3.10"),
        ((3, 12, 1), "2.15.0", "needs cruft 2.16 or newer, and this is 2.15.0; for example: pip"),
        ((3, 12, 1), "1.4.0", "needs cruft 2.16"),
    ],
)
def test_an_old_version_is_named_with_what_to_do(
    python: tuple[int, ...], cruft: str | None, words: str
) -> None:
    problem = versions.version_problem(python, cruft)
    assert problem
    assert words in problem
    assert "\n" not in problem


@pytest.mark.parametrize("python", [(3, 10, 0), (3, 14, 2)])
@pytest.mark.parametrize("cruft", [None, "2.16.0", "2.17.1", "3.0"])
def test_newer_versions_are_accepted(python: tuple[int, ...], cruft: str | None) -> None:
    assert versions.version_problem(python, cruft) is None


def test_an_old_cruft_is_stopped_before_the_first_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cruft", ModuleType("cruft"))
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.15.0")
    with pytest.raises(SystemExit) as stop:
        Environment(extensions=[versions.CheckVersions])  # noqa: S701 -- no HTML
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("Error: this template needs cruft 2.16")


def test_the_check_runs_first_and_on_every_python() -> None:
    """Tools that cannot import extensions print the name of the first one."""
    text = (template.ROOT / f"{versions.__name__}.py").read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 6))
    extensions = template.COOKIECUTTER["_extensions"]
    assert extensions[0] == f"{versions.__name__}.CheckVersions"
    oldest_cruft = "_".join(str(number) for number in versions.OLDEST_CRUFT)
    assert f"cruft_{oldest_cruft}" in versions.__name__


def test_the_readme_names_the_oldest_versions() -> None:
    readme = (template.ROOT / "README.md").read_text(encoding="utf-8")
    for words in ("Python 3.10", "Cookiecutter 2.1", "cruft 2.16", "Node 24"):
        assert words in readme
