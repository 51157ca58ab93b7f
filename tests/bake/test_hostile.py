"""Hostile answers: each is refused with one line, or is that same text in every file."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader
from pytest_cookies.plugin import Cookies

from tests.support import template
from tests.support.markdown import shown_text

REFUSED = [
    "\n",
    "\r\n",
    "\0",
    "\t",
    "\x1b[31m",
    "{{",
    "{%",
    "{#",
    "\u2028",
    "\u202e",
    "\u2066",
    "\ud800",
    "x" * 201,
]
NASTY = [
    "'", '"', "\\", "\\\\'", "`", "```", "````", "{", "}", "}}", "#}", "${HOME}", "$(id)", "`id`",
    "*/", "/*", "//",
    "-->", "</script>", "<img src=x>", "&amp;", "[x](javascript:0)", "# ", "- ", "1. ", "---",
    "===", "|", "~~", "%s",
    "%",
    "\\u0027", "\\n", "'''", '"""', ": ", " #", "&a", "*a", "!!python/none", "@", "💉", "é",
    "\u200e", "\u200f", "\u061c", "\ufeff", "null", "no", "0x1F", "1e3", "con", "../", "/",
    "C:\\", "~", " ",
]  # fmt: skip
KEPT = st.lists(st.sampled_from(NASTY), max_size=6).map("".join)
TEXT = st.one_of(KEPT, st.text(max_size=30), st.sampled_from(REFUSED))
GOOD_URLS = [
    "http://localhost", "https://a.org", "http://127.0.0.1:8080", "http://[::1]:1",
    "http://localhost:8080/x", "HTTPS://A.ORG//",
]  # fmt: skip
URLS = [
    *GOOD_URLS, "https://a.org/x~y/é", "http://a.org", "http://hapi:8080/x", "http://10.0.0.1",
    "https://me:pw@a.org",
    "https://ü.org", "https://a b", "https://a.org:99999",
    "ftp://a.org", "a.org", "https://",
]  # fmt: skip
URL = st.one_of(st.sampled_from(URLS), st.builds("https://a.org/{}".format, TEXT))
CHOICES = {
    name: st.sampled_from(value)
    for name, value in template.QUESTIONS.items()
    if isinstance(value, list)
}


def answer_sets(
    text: st.SearchStrategy[str], slug: st.SearchStrategy[str], url: st.SearchStrategy[str]
) -> Any:
    texts = dict.fromkeys(("description", "author"), text)
    urls = dict.fromkeys(("medplum_base_url", "external_fhir_url"), url)
    flags = {name: st.booleans() for name in template.QUIET}
    name = text.map(lambda text: f"x{text}")
    return st.fixed_dictionaries(
        {"project_name": name, "project_slug": slug, **texts, **urls, **CHOICES, **flags}
    )


ANYTHING = answer_sets(TEXT, st.one_of(st.just("my-bots"), TEXT), URL)
# Nasty, but to be kept as it is: the sets that reach the files.
NASTY_BUT_GOOD = answer_sets(KEPT, st.just("my-bots"), st.sampled_from(GOOD_URLS))


@pytest.fixture(scope="module")
def environment() -> Environment:
    """Cookiecutter's own environment with the template's filters."""
    from cookiecutter.utils import create_env_with_context

    sys.path.insert(0, str(template.ROOT))
    made: Environment = create_env_with_context(
        {"cookiecutter": {"_extensions": template.COOKIECUTTER["_extensions"]}}
    )
    sys.path.remove(str(template.ROOT))
    made.loader = FileSystemLoader([template.SOURCE, template.ROOT])
    made.auto_reload = False  # the snapshot does not change
    return made


def rendered_paths() -> list[str]:
    """The files with Jinja. test_matrix compares the bytes of the others."""
    texts = [
        path
        for path in sorted(template.SOURCE.rglob("*"))
        if path.is_file() and path.suffix != ".gz"
    ]
    paths = [path for path in texts if b"{{" in path.read_bytes()]
    return [path.relative_to(template.SOURCE).as_posix() for path in paths]


@functools.cache
def checks() -> list[str]:
    questions = json.loads((template.ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    return [
        text for name, text in questions.items() if name.startswith("__") and isinstance(text, str)
    ]


def refused(environment: Environment, answers: dict[str, Any]) -> bool:
    """Run the checks of cookiecutter.json; a refusal is one line, exit code 1, no credentials."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        code: object = 0
        try:
            for check in checks():
                environment.from_string(check).render(cookiecutter=answers)
        except SystemExit as stop:
            code = stop.code
    line = printed.getvalue()
    if code == 0:
        assert line == ""
        return False
    assert code == 1
    assert line.startswith("Error: ")
    assert line[-1] == "\n"
    assert line[:-1].isprintable()
    assert "me:pw" not in line
    return True


@functools.lru_cache(maxsize=64)
def parsed_json(text: str) -> Any:
    """Parse JSON: what few answers reach, as package-lock.json, only once."""
    return json.loads(text)


@functools.cache
def parsed_yaml(text: str) -> bool:
    """Parse YAML: the same text, as no answer reaches it now, only once."""
    return isinstance(yaml.safe_load(text), dict)


def check_file(path: str, text: str, answers: dict[str, Any]) -> None:
    name = Path(path).name
    if name in ("package.json", "package-lock.json", "medplum.config.json"):
        value = parsed_json(text)
        if name == "package.json":
            assert value["description"] == answers["description"]
            assert value["author"] == answers["author"]
        if name != "medplum.config.json":
            assert value["name"] == answers["project_slug"]
    elif name.endswith(".yml"):
        assert parsed_yaml(text)
    elif name == "README.md":
        texts = shown_text(text.partition("## Start")[0])
        assert texts[0] == answers["project_name"].strip()
        assert answers["description"].strip() in ("", texts[2])  # after the notice
    elif name == "LICENSE":
        assert f"Copyright (c) {answers['author']}".rstrip() in text
    elif name == ".env.example":
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert [line.split("=")[0] for line in lines] == [
            "MEDPLUM_BASE_URL", "MEDPLUM_PROJECT_ID", "MEDPLUM_CLIENT_ID", "MEDPLUM_CLIENT_SECRET",
        ]  # fmt: skip
        assert lines[0].isascii()
        assert lines[0].endswith("/")
    else:
        raise AssertionError(f"{path} holds answers; say here how it is parsed")


PROSE = {
    "project_name": "# Ünï | *bold* _it_ [x](y) `c` <b> \\ & 1. \u200f",
    "project_slug": "my-bots",
    "description": '1. It\'s "quoted" */ </script> ${HOME} $(id) {x} #} 💉',
    "author": "O'Brien & \\Söhne\\",
    "medplum_base_url": "HTTPS://Medplum.Example.ORG:8443/base",
    "external_fhir_url": "http://hapi:8080/fhir/",
    "bot_runtime": "vmcontext",
    "example_bots": "both",
    "failure_alerts": "failure-alert-bot",
    "ci_provider": "gitlab",
    "license": "MIT",
    "init_git": True,
    "install_dependencies": True,
}


def test_no_answer_breaks_a_file(environment: Environment) -> None:
    kept, paths = 0, rendered_paths()
    sets = 20 * settings().max_examples  # 2,000, and 200 for make test-fast

    @settings(max_examples=sets, deadline=None, database=None)
    @given(NASTY_BUT_GOOD)
    @example(PROSE)
    def render(answers: dict[str, Any]) -> None:
        nonlocal kept
        if refused(
            environment, answers
        ):  # two harmless texts can meet to a harmful one, as { and {
            return
        for path in paths:
            check_file(path, environment.get_template(path).render(cookiecutter=answers), answers)
        hook = environment.get_template("hooks/post_gen_project.py").render(cookiecutter=answers)
        names: dict[str, Any] = {}
        lines_with_answers = hook.split("# fmt: off\n")[1].split("# fmt: on\n")[0]
        exec(lines_with_answers, names)  # noqa: S102 -- what the test is about
        assert json.loads(names["ANSWERS"]) == answers
        kept += 1

    render()
    assert kept > 0.7 * sets, "too many answers were refused: little was tested"


@settings(max_examples=5 * settings().max_examples, deadline=None, database=None)
@given(ANYTHING)
def test_a_refusal_is_one_line(environment: Environment, answers: dict[str, Any]) -> None:
    refused(environment, answers)


@pytest.mark.parametrize("texts", [NASTY[:19], NASTY[19:38], NASTY[38:]])
def test_whole_bakes_with_hostile_answers(texts: list[str], cookies: Cookies) -> None:
    text = " ".join(texts)
    made = template.bake_with(cookies, project_name=f"x{text}", description=text, author=text)
    package = json.loads((made / "package.json").read_text(encoding="utf-8"))
    assert (package["description"], package["author"]) == (text, text)
    assert shown_text((made / "README.md").read_text(encoding="utf-8"))[0] == f"x{text}".strip()


def test_a_bad_answer_stops_before_anything_is_written(tmp_path: Path) -> None:
    line: list[Path | str] = ["--no-input", "--default-config", template.ROOT, "-o", "out"]
    done = template.cookiecutter(*line, "project_slug=Bad Name", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: project_slug 'Bad Name': use lower-case letters")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_answer_costs_no_further_question(tmp_path: Path) -> None:
    done = template.cookiecutter(
        "--default-config", template.ROOT, cwd=tmp_path, given="Name\nBad Slug\n", check=False
    )
    assert done.returncode == 1
    count = len(template.QUESTIONS)
    assert f"[2/{count}]" in done.stdout
    assert f"[3/{count}]" not in done.stdout
    assert done.stderr.startswith("Error: project_slug 'Bad Slug'")


def test_a_bad_answer_is_one_line_under_cruft_too(
    template_repository: Path, tmp_path: Path
) -> None:
    answers = json.dumps({"medplum_base_url": "http://api.medplum.com"})
    line: list[Path | str] = [
        "create",
        "--no-input",
        template_repository,
        "--extra-context",
        answers,
    ]
    done = template.cruft(*line, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: medplum_base_url 'http://api.medplum.com': must use https"
    )
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_named_by_cookiecutter_itself(tmp_path: Path) -> None:
    (tmp_path / "my-medplum-bots").mkdir()
    line = ("--no-input", "--default-config", template.ROOT)
    done = template.cookiecutter(*line, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stdout + done.stderr == 'Error: "my-medplum-bots" directory already exists\n'
    assert list((tmp_path / "my-medplum-bots").iterdir()) == []
