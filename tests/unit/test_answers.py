"""Each answer that the template checks: what is refused and with which words, and what good ones become."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import template_extensions as answers

TEXT = st.text(max_size=200).filter(lambda text: not answers.UNPRINTABLE.search(text))


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refusal printed."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("two\nlines", "one line"),
        ("bell\a", "control characters"),
        ("escape \x1b[31m", "control characters"),
        ("line\u2028separator", "one line"),
        ("half a pair \ud83d", "control characters"),
        ("override \u202egnp.exe", "turn text around"),
        ("isolate \u2067", "turn text around"),
        ("{{ cookiecutter.author }}", "its own code"),
        ("{% raw %}", "its own code"),
        ("{# note", "its own code"),
        ("x" * 201, "at most 200"),
    ],
)
def test_a_text_that_cannot_be_kept_is_refused(text: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        answers.one_line(text, "description")
    assert stop.value.code == 1
    line = refusal(capsys)
    assert line.startswith("Error: description ")
    assert words in line
    assert line.isascii()


@pytest.mark.parametrize(
    "text",
    [
        "",
        'it\'s "quoted"',
        "back\\slash",
        "${HOME} `id` $(id)",
        "*/ </script> -->",
        "💉 ünïcode",
        "\u200f\u05e2\u05d1",
        "{ }",
    ],
)
def test_any_other_text_is_kept_as_it_is(text: str) -> None:
    assert answers.one_line(text, "description") == text


def test_a_repository_needs_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        answers.one_line("   ", "project_name", required=True)
    assert "must not be empty" in refusal(capsys)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Medplum Bots", "my-medplum-bots"),
        ("Élan & Söhne", "elan-sohne"),
        ("Боты", "boty"),
        ("💉", "medplum-bots"),
        ("CON", "con-bots"),
        ("tests", "tests-bots"),
        ("../..", "medplum-bots"),
    ],
)
def test_the_suggested_slug_is_always_a_good_one(name: str, slug: str) -> None:
    assert answers.default_slug(name) == slug
    assert answers.project_slug(slug) == slug


@given(TEXT)
def test_no_name_leads_to_a_bad_slug(name: str) -> None:
    slug = answers.default_slug(name)
    assert answers.project_slug(slug) == slug


@pytest.mark.parametrize(
    "slug",
    [
        "", "Upper", "with space", "-dash", ".dot", "_under", "dot.", "a/b", "a\\b", "..", "ünï", "con", "nul.txt",
        "com1", "node_modules", "favicon.ico", "a" * 101, "~", "a:b", "$(id)", "a\n",
    ],
)  # fmt: skip
def test_a_bad_slug_is_refused_with_a_good_one(slug: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        answers.project_slug(slug)
    assert stop.value.code == 1
    line = refusal(capsys)
    assert "for example: " in line or "at most 100" in line


def slug_within(command_line: dict[str, object], slug: str) -> str:
    with click.Context(click.Command("main")) as context:
        context.params = command_line
        return answers.project_slug(slug)


def test_an_existing_folder_is_refused_before_the_next_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bots").mkdir()
    with pytest.raises(SystemExit):
        slug_within({"output_dir": str(tmp_path), "overwrite_if_exists": False}, "bots")
    line = refusal(capsys)
    assert str(tmp_path / "bots") in line
    assert "-f" in line
    assert slug_within({"output_dir": str(tmp_path), "overwrite_if_exists": True}, "bots") == "bots"
    assert slug_within({"output_dir": str(tmp_path), "overwrite_if_exists": False}, "other") == "other"
    # cruft's update and diff bake into folders of their own and have no output_dir.
    assert slug_within({"project_dir": str(tmp_path)}, "bots") == "bots"


def test_a_file_in_the_way_is_refused_even_with_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bots").write_text("")
    with pytest.raises(SystemExit):
        slug_within({"output_dir": str(tmp_path), "overwrite_if_exists": True}, "bots")
    assert "exists already" in refusal(capsys)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.medplum.com", "https://api.medplum.com/"),
        ("https://api.medplum.com///", "https://api.medplum.com/"),
        ("HTTPS://API.Example.ORG:8443/base/", "https://api.example.org:8443/base/"),
        ("http://localhost:8103", "http://localhost:8103/"),
        ("http://127.0.0.1:8103/", "http://127.0.0.1:8103/"),
        ("http://[::1]:8103", "http://[::1]:8103/"),
        ("http://10.1.2.3", "http://10.1.2.3/"),
        ("http://medplum-server:8103/", "http://medplum-server:8103/"),
        ("http://medplum.internal/", "http://medplum.internal/"),
        ("https://app.medplum.com.example.org", "https://app.medplum.com.example.org/"),
        ("  https://api.medplum.com/ ", "https://api.medplum.com/"),
    ],
)
def test_a_medplum_address_ends_in_one_slash(url: str, kept: str) -> None:
    assert answers.medplum_url(url) == kept


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("api.medplum.com", "must begin with https://"),
        ("ftp://api.medplum.com", "must begin with https://"),
        ("javascript:alert(1)", "must begin with https://"),
        ("http://api.medplum.com", "in the open"),
        ("http://8.8.8.8/", "in the open"),
        ("http://[::ffff:8.8.8.8]/", "in the open"),
        ("https://api.medplum.com/?x=1", "query or fragment"),
        ("https://api.medplum.com/#x", "query or fragment"),
        ("https://a b.org/", "spaces"),
        ("https://a.org/'\"", "quotes"),
        ("https://", "host name"),
        ("https://-a.org", "host name"),
        ("https://пример.рф/", "xn--"),
        ("https://a.org:99999/", "not an address"),
        ("https://[::1", "not an address"),
        ("https://a.org/ü", "ASCII"),
        ("https://app.medplum.com/", "https://api.medplum.com/"),
        ("https://api.medplum.com/fhir/R4", "https://api.medplum.com/"),
        ("", "must begin with https://"),
    ],
)
def test_a_bad_address_is_refused_with_the_cure(url: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        answers.medplum_url(url)
    assert stop.value.code == 1
    assert words in refusal(capsys)


@pytest.mark.parametrize("url", ["https://me:hunter2@a.org/", "https://hunter2@a.org", "https://me:hunter2@[::1/"])
def test_credentials_in_an_address_are_refused_and_never_shown(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        answers.fhir_url(url)
    line = refusal(capsys)
    assert "hunter2" not in line


def test_a_fhir_address_loses_its_slash() -> None:
    assert answers.fhir_url("https://hapi.example.org/fhir/") == "https://hapi.example.org/fhir"


@given(TEXT)
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    html = MarkdownIt("commonmark").parse(f"# {answers.markdown(text)}\n\n{answers.markdown(text)}\n")
    shown = [token.children for token in html if token.type == "inline"]
    for children in shown:
        words = "".join(child.content if child.type != "softbreak" else " " for child in children or [])
        assert words.strip() == text.strip()
    assert {token.type for token in html} <= {
        "heading_open",
        "inline",
        "heading_close",
        "paragraph_open",
        "paragraph_close",
    }


@given(TEXT)
def test_json_keeps_any_text(text: str) -> None:
    assert json.loads(answers.json_text(text)) == text


@given(st.dictionaries(st.sampled_from(["project_name", "author", "description"]), TEXT))
def test_the_recreating_command_survives_the_shell(given_answers: dict[str, str]) -> None:
    words = shlex.split(answers.recreate_command(given_answers))
    assert words[:3] == ["uvx", "cruft", "create"]
    assert json.loads(words[words.index("--extra-context") + 1]) == given_answers


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("gh:acme/medplum-bots", "https://github.com/acme/medplum-bots"),
        ("https://github.com/acme/medplum-bots.git", "https://github.com/acme/medplum-bots"),
        ("git@github.com:acme/medplum-bots.git", "https://github.com/acme/medplum-bots"),
        ("gl:acme/medplum-bots", "https://gitlab.com/acme/medplum-bots"),
        ("https://me:hunter2@git.example.org/medplum-bots", answers.HOME),
        ("/home/me/medplum-bots", answers.HOME),
        (".", answers.HOME),
        ("https://example.org/medplum-bots.zip", answers.HOME),
        ("https://example.org/x;rm -rf ~", answers.HOME),
    ],
)
def test_only_an_address_that_others_can_use_is_repeated(template: str, address: str) -> None:
    assert f"create {address} " in answers.recreate_command({"_template": template})
