"""Checks of answers: which ones are refused and why, and what the others become in files."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import Environment
from markdown_it import MarkdownIt

import template_extensions as answers
from tests.support import template
from tests.support.hooks import GOOD_ANSWERS
from tests.support.markdown import shown_text


def is_kept(text: str) -> bool:
    """Return whether one_line accepts the characters of a text."""
    return not (answers.CONTROL_CHARACTER.search(text) or answers.NOT_UTF8.search(text))


TEXT = st.text(max_size=200).filter(is_kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("two\nlines", "one line"),
        ("bell\a", "control characters"),
        ("escape \x1b[31m", "control characters"),
        ("line\u2028separator", "one line"),
        ("a byte of another encoding \udcc9", "not UTF-8 text; set the locale to UTF-8"),
        ("override \u202egnp.exe", "direction of text"),
        ("isolate \u2067", "direction of text"),
        ("{{ cookiecutter.author }}", "template code"),
        ("{% raw %}", "template code"),
        ("{# note", "template code"),
        ("x" * 201, "at most 200"),
    ],
)
def test_a_text_that_cannot_be_kept_is_refused(text: str, words: str) -> None:
    with pytest.raises(answers.AnswerError) as refusal:
        answers.one_line(text, "description")
    line = str(refusal.value)
    assert line.startswith("description ")
    assert words in line
    assert line.isascii()
    assert line.isprintable()


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


def test_a_repository_needs_a_name() -> None:
    with pytest.raises(answers.AnswerError, match="must not be empty"):
        answers.one_line("   ", "project_name", required=True)


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
        "", "Upper", "with space", "-dash", ".dot", "_under", "dot.", "a/b", "a\\b", "..",
        "ünï", "con", "nul.txt",
        "com1", "node_modules", "favicon.ico", "a" * 101, "~", "a:b", "$(id)", "a\n",
    ],
)  # fmt: skip
def test_a_bad_slug_is_refused_with_a_good_one(slug: str) -> None:
    with pytest.raises(answers.AnswerError, match=r"for example: |at most 100"):
        answers.project_slug(slug)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.medplum.com", "https://api.medplum.com/"),
        ("https://api.medplum.com///", "https://api.medplum.com/"),
        ("HTTPS://API.Example.ORG:8443/base/", "https://api.example.org:8443/base/"),
        ("http://localhost:8103", "http://localhost:8103/"),
        ("http://127.0.0.1:8103/", "http://127.0.0.1:8103/"),
        ("http://[::1]:8103", "http://[::1]:8103/"),
        ("HTTP://LocalHost:8103/", "http://localhost:8103/"),
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
        ("http://api.medplum.com", "unencrypted"),
        ("http://8.8.8.8/", "unencrypted"),
        ("http://[::ffff:8.8.8.8]/", "unencrypted"),
        ("http://10.1.2.3", "unencrypted"),
        ("http://127.0.0.2:8103/", "unencrypted"),
        ("http://[::ffff:127.0.0.1]:8103/", "unencrypted"),
        ("http://medplum-server:8103/", "unencrypted"),
        ("http://medplum.internal/", "unencrypted"),
        ("HTTP://localhost.evil.example/", "unencrypted"),
        ("https://api.medplum.com/base//deep", "two slashes"),
        ("https://api.medplum.com/?x=1", "query or fragment"),
        ("https://api.medplum.com/#x", "query or fragment"),
        ("https://a b.org/", "spaces"),
        ("https://a.org/'\"", "quotes"),
        ("https://", "host name"),
        ("https://-a.org", "host name"),
        ("https://пример.рф/", "xn--"),
        ("https://a.org:99999/", "not a valid address"),
        ("https://[::1", "not a valid address"),
        ("https://a.org/ü", "ASCII"),
        ("https://app.medplum.com/", "https://api.medplum.com/"),
        ("https://api.medplum.com/fhir/R4", "https://api.medplum.com/"),
        ("", "must begin with https://"),
    ],
)
def test_a_bad_address_is_refused_with_what_to_do(url: str, words: str) -> None:
    with pytest.raises(answers.AnswerError) as refusal:
        answers.medplum_url(url)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@a.org/", "https://hunter2@a.org", "https://me:hunter2@[::1/"]
)
def test_credentials_in_an_address_are_refused_and_never_shown(url: str) -> None:
    with pytest.raises(answers.AnswerError) as refusal:
        answers.fhir_url(url)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "host", ["hapi.example.org", "8.8.8.8", "[::ffff:8.8.8.8]", "localhost.example.org"]
)
def test_patient_data_does_not_go_unencrypted_to_a_public_host(host: str) -> None:
    with pytest.raises(answers.AnswerError, match="would send patient data unencrypted"):
        answers.fhir_url(f"http://{host}/fhir")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "10.1.2.3", "hapi", "hapi.internal"])
def test_a_fhir_server_in_a_private_network_may_use_http(host: str) -> None:
    assert answers.fhir_url(f"http://{host}:8080/fhir") == f"http://{host}:8080/fhir"


def test_a_fhir_address_loses_its_slash() -> None:
    assert answers.fhir_url("https://hapi.example.org/fhir/") == "https://hapi.example.org/fhir"
    assert answers.fhir_url("http://api//") == "http://api"


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (True, True), ("yes", True), ("Y", True), ("1", True), (" on ", True), ("True", True),
        (False, False), ("no", False), ("n", False), ("0", False), ("off", False), ("False", False),
    ],
)  # fmt: skip
def test_yes_and_no_in_all_words_of_cookiecutter(answer: object, meaning: bool) -> None:
    """Cookiecutter before 2.7 gives `init_git=no` as a text, which Python takes as true."""
    assert answers.yes_or_no(answer, "init_git") == str(answer)
    assert answers.plain_answers({"init_git": answer, "_template": "x"}) == {"init_git": meaning}


def test_another_word_is_neither_yes_nor_no() -> None:
    with pytest.raises(answers.AnswerError, match="init_git 'maybe': must be yes or no"):
        answers.yes_or_no("maybe", "init_git")


@given(TEXT)
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    markdown = f"# {answers.markdown(text)}\n\n{answers.markdown(text)}\n"
    assert [block for block in shown_text(markdown) if block] == [text.strip()] * 2 * bool(
        text.strip()
    )
    kinds = {token.type for token in MarkdownIt("commonmark").parse(markdown)}
    assert kinds <= {
        "heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("costs $5 to $6", r"costs \$5 to \$6"),  # no formula
        ("by @medplum", "by @<!-- -->medplum"),  # no link to an account
        ("we :smile: a lot", "we :<!-- -->smile: a lot"),  # no picture
        ("a|b", r"a\|b"),  # one cell of a table
        ("me at 10:30", "me at 10:30"),
    ],
)
def test_what_github_and_gitlab_add_to_markdown_is_escaped(text: str, written: str) -> None:
    assert answers.markdown(text) == written
    assert shown_text(written) == [text]


@pytest.mark.parametrize("question", GOOD_ANSWERS)
def test_each_answer_of_a_replay_is_checked(question: str) -> None:
    assert answers.wrong_answer({**GOOD_ANSWERS, "of_another_version": "\n"}) is None
    wrong = answers.wrong_answer({**GOOD_ANSWERS, question: "a\nb"})
    assert wrong is not None
    assert wrong.startswith(f"{question} ")


def test_an_answer_that_a_replay_lacks_is_named() -> None:
    without = {name: value for name, value in GOOD_ANSWERS.items() if name != "license"}
    assert answers.wrong_answer(without) == "license '': use one of: Apache-2.0, MIT, none"


@given(TEXT)
@example('a "quoted" back\\slash')
def test_json_keeps_any_text(text: str) -> None:
    assert json.loads(answers.json_text(text)) == text


@given(st.dictionaries(st.sampled_from(["project_name", "author", "description"]), TEXT))
@example({"author": "O'Brien & 'Söhne'"})
def test_the_command_to_recreate_survives_the_shell(given_answers: dict[str, str]) -> None:
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
        ("ssh://git@git.example.org:2222/acme/bots.git", "https://git.example.org/acme/bots"),
        ("https://me:hunter2@git.example.org/medplum-bots", answers.HOME),
        ("/home/me/medplum-bots", answers.HOME),
        (".", answers.HOME),
        ("https://example.org/medplum-bots.zip", answers.HOME),
        ("https://example.org/x;rm -rf ~", answers.HOME),
    ],
)
def test_only_an_address_that_others_can_use_is_repeated(
    template: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "TEMPLATE_FOLDER", tmp_path)  # not a clone
    assert f"create {address} " in answers.recreate_command({"_template": template})


def test_a_clone_is_named_by_the_address_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "TEMPLATE_FOLDER", tmp_path)
    template.git("init", "--quiet", cwd=tmp_path)
    template.git("remote", "add", "origin", "git@git.example.org:clinic/bots.git", cwd=tmp_path)
    source = answers.template_source({"_template": str(tmp_path)})
    assert source["address"] == "https://git.example.org/clinic/bots"


def test_the_command_names_the_version_without_a_git_repository() -> None:
    assert f" --checkout v{answers.VERSION} " in answers.recreate_command({})
    assert " --checkout 1234abcd " in answers.recreate_command({"_commit": "1234abcd"})


def test_the_command_names_the_commit_until_the_version_is_tagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "TEMPLATE_FOLDER", tmp_path)
    (tmp_path / "file").write_text("")
    template.commit_all(tmp_path, "First")
    # A git hook that starts Cookiecutter sets GIT_DIR to another repository.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    commit = template.run("git", "--git-dir=.git", "rev-parse", "HEAD", cwd=tmp_path).stdout.strip()
    assert answers.template_source({})["checkout"] == commit
    template.run("git", "--git-dir=.git", "tag", f"v{answers.VERSION}", cwd=tmp_path)
    template.run("git", "--git-dir=.git", "tag", f"v{answers.VERSION}-rc.1", cwd=tmp_path)
    assert answers.template_source({})["checkout"] == f"v{answers.VERSION}"


def test_a_zip_file_of_a_commit_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git archive` replaces a text in template_extensions.py; GitHub's zip files are made so."""
    repository = tmp_path / "medplum-bots"
    repository.mkdir()
    for name in (".gitattributes", "template_extensions.py"):
        shutil.copy(template.ROOT / name, repository)
    template.commit_all(repository, "First")
    template.git("archive", "--output=../bots.zip", "HEAD", cwd=repository)
    shutil.unpack_archive(tmp_path / "bots.zip", tmp_path / "unpacked")
    archived = template.load(tmp_path / "unpacked" / "template_extensions.py", "archived")
    commit = template.git("rev-parse", "HEAD", cwd=repository).strip()
    assert archived.template_source({})["checkout"] == commit


def test_a_signed_commit_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With log.showSignature, git prints what GPG says before the commit."""
    monkeypatch.setattr(answers, "TEMPLATE_FOLDER", tmp_path)
    (tmp_path / "file").write_text("")
    template.commit_all(tmp_path, "First")
    signed = template.git("cat-file", "commit", "HEAD", cwd=tmp_path).replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n"
    )
    line = ("git", "hash-object", "-t", "commit", "-w", "--stdin")
    commit = template.run(*line, cwd=tmp_path, given=signed).stdout.strip()
    template.git("reset", "--quiet", commit, cwd=tmp_path)
    template.git("config", "log.showSignature", "true", cwd=tmp_path)
    assert answers.template_source({})["checkout"] == commit


def test_a_refusal_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    environment = Environment(extensions=[answers.MedplumBots])  # noqa: S701 -- no HTML
    check = environment.from_string("{{ cookiecutter.project_slug | project_slug }}")
    with pytest.raises(SystemExit) as stop:
        check.render(cookiecutter={"project_slug": "Bad"})
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: project_slug 'Bad': use lower-case letters")
    assert printed.err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("command", ["cookiecutter", "cruft"])
def test_at_a_terminal_a_refusal_shows_how_to_keep_the_other_answers(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    if command == "cruft":
        monkeypatch.setitem(sys.modules, "cruft", ModuleType("cruft"))
    else:
        monkeypatch.delitem(sys.modules, "cruft", raising=False)
    environment = Environment(extensions=[answers.MedplumBots])  # noqa: S701 -- no HTML
    given_answers = {"project_name": "It's ours", "__check_x": "x", "project_slug": "Bad"}
    with pytest.raises(SystemExit):
        environment.from_string("{{ 'Bad' | project_slug }}").render(cookiecutter=given_answers)
    hint = capsys.readouterr().err.splitlines()[1]
    start, _, options = hint.partition(": ")
    assert start == "To keep your other answers, add to your command"
    if command == "cruft":
        assert shlex.split(options) == ["--extra-context", '{"project_name": "It\'s ours"}']
    else:
        assert shlex.split(options) == ["project_name=It's ours"]
