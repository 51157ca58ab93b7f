"""The template's Jinja filters: they check answers and write them safely into files.

cookiecutter.json calls a check from a private `__check_…` variable right after each question. A
refused answer prints one `Error: …` line and exits with code 1, before the next question is asked
and before anything is written.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

VERSION = "0.1.0"
"""The version of this template: a git tag `v…` and an entry in CHANGELOG.md."""

HOME = "https://github.com/org/medplum-bots"

TEMPLATE_FOLDER = Path(__file__).resolve().parent

ARCHIVED_COMMIT = "$Format:%H %D$"
"""The commit and its tags in a zip file of `git archive` or GitHub, which replace this text."""

CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Python reads bytes that are not UTF-8 as halves of surrogate pairs, which no file can store.
NOT_UTF8 = re.compile("[\ud800-\udfff]")
# Overrides and isolates show the text after them in a misleading order. (Direction marks do not.)
DIRECTION_OVERRIDE = re.compile("[\u202a-\u202e\u2066-\u2069]")
JINJA = re.compile(r"\{[{%#]")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?", re.ASCII)
PLAIN_ADDRESS = re.compile(r"[^\s\"'`<>\\{}|^$%]+")
LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
HOST_NAME = re.compile(rf"{LABEL}(\.{LABEL})*", re.ASCII)
WINDOWS_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)),
}
# Folder names that tools use themselves, and names that npm refuses.
RESERVED_NAMES = {"node_modules", "favicon.ico", "dist", "build", "src", "tests", "tools"}
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test")
# The words that Cookiecutter accepts for yes and no.
YES = {"1", "true", "t", "yes", "y", "on"}
NO = {"0", "false", "f", "no", "n", "off"}


class MedplumBots(Extension):
    """Adds the filters to Cookiecutter's Jinja environment."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        for check in (one_line, project_slug, medplum_url, fhir_url, yes_or_no):
            environment.filters[check.__name__] = _as_filter(check)
        for function in (default_slug, json_text, markdown, plain_answers, wrong_answer):
            environment.filters[function.__name__] = function
        environment.filters["recreate_command"] = recreate_command
        environment.filters["template_source"] = template_source
        environment.globals["template_version"] = VERSION
        environment.globals["source_folder"] = str(
            TEMPLATE_FOLDER / "{{cookiecutter.project_slug}}"
        )
        # `cruft update` renders the old and the new template in one process. Each must import its
        # own version of this module.
        sys.modules.pop(__name__, None)


class AnswerError(ValueError):
    """An answer that cannot be used.

    `question` is its name in cookiecutter.json, `hint` says what is wrong and what is right.
    """

    def __init__(self, question: str, value: object, hint: str, *, secret: bool = False) -> None:
        text = str(value)
        shortened = text if len(text) <= 60 else f"{text[:57]}..."
        # `secret`: the answer may hold a password and is not repeated.
        shown = "" if secret else f" {shortened!a}"
        super().__init__(f"{question}{shown}: {hint}")
        self.question = question
        self.hint = hint


def _as_filter(check: Callable[..., str]) -> Callable[..., str]:
    """Make a Jinja filter of a check: an AnswerError ends the program with one line."""

    @pass_context
    def checked(context: Context, *arguments: Any, **options: Any) -> str:
        try:
            return check(*arguments, **options)
        except AnswerError as error:
            _stop(error, context.get("cookiecutter", {}))

    return checked


def _stop(error: AnswerError, answers: Mapping[str, Any]) -> NoReturn:
    """Print why an answer is refused, and at a terminal how to keep the answers before it."""
    print(f"Error: {error}", file=sys.stderr)
    given = {name: value for name, value in answers.items() if not name.startswith("_")}
    given.pop(error.question, None)
    if given and sys.stdin.isatty():
        print(
            f"To keep your other answers, add to your command: {_as_options(given)}",
            file=sys.stderr,
        )
    # cruft shows any other exception, click's own included, with a traceback.
    raise SystemExit(1)


def _as_options(answers: Mapping[str, Any]) -> str:
    """Write answers as arguments of the running command, for a POSIX shell."""
    if "cruft" in sys.modules:
        return f"--extra-context {shlex.quote(json.dumps(answers, ensure_ascii=False))}"
    return shlex.join(f"{name}={value}" for name, value in answers.items())


def one_line(value: object, question: str, required: bool = False) -> str:
    """Check a free text: one line that files can store and that Jinja can render again."""
    text = str(value)
    if NOT_UTF8.search(text):
        raise AnswerError(
            question, text, "is not UTF-8 text; set the locale to UTF-8, for example LC_ALL=C.UTF-8"
        )
    if CONTROL_CHARACTER.search(text):
        raise AnswerError(question, text, "must be one line without control characters")
    if DIRECTION_OVERRIDE.search(text):
        raise AnswerError(
            question,
            text,
            "must not change the direction of text (U+202A to U+202E, U+2066 to U+2069)",
        )
    if JINJA.search(text):
        # `cruft update` passes the answers to Jinja again.
        raise AnswerError(question, text, "must not contain {{, {% or {#, which is template code")
    if len(text) > 200:
        raise AnswerError(question, text, f"is {len(text)} characters long; use at most 200")
    if required and not text.strip():
        raise AnswerError(question, text, "must not be empty; for example: My Medplum Bots")
    return text


def yes_or_no(value: object, question: str) -> str:
    """Check the answer to a yes-or-no question, which Cookiecutter before 2.2 gives as text."""
    if _as_boolean(value) is None:
        raise AnswerError(question, value, "must be yes or no")
    return str(value)


def _as_boolean(value: object) -> bool | None:
    word = str(value).strip().lower()
    if word in YES:
        return True
    if word in NO:
        return False
    return None


def wrong_answer(answers: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the first answer that cannot be used, or None.

    Answers of a replay come from a file, perhaps of another version, and no question checks them.
    """
    text = (TEMPLATE_FOLDER / "cookiecutter.json").read_text(encoding="utf-8")
    questions = {
        name: value for name, value in json.loads(text).items() if not name.startswith("_")
    }
    given = {name: answers.get(name, "") for name in questions}
    try:
        one_line(given["project_name"], "project_name", required=True)
        project_slug(given["project_slug"])
        for question in ("description", "author"):
            one_line(given[question], question)
        medplum_url(given["medplum_base_url"])
        fhir_url(given["external_fhir_url"])
        for question in ("init_git", "install_dependencies"):
            yes_or_no(given[question], question)
        for question, choices in questions.items():
            if isinstance(choices, list) and given[question] not in choices:
                raise AnswerError(question, given[question], f"use one of: {', '.join(choices)}")
    except AnswerError as error:
        return str(error)
    return None


def default_slug(name: object) -> str:
    """Suggest a folder and package name for a project name: `Élan Bots` -> `elan-bots`."""
    from slugify import slugify

    slug = slugify(str(name), max_length=60) or "medplum-bots"
    return f"{slug}-bots" if slug in WINDOWS_DEVICES or slug in RESERVED_NAMES else slug


def project_slug(value: object) -> str:
    """Check a folder and package name by the rules of npm and Windows."""
    slug = str(value)
    if not SLUG.fullmatch(slug):
        raise AnswerError(
            "project_slug",
            slug,
            "use lower-case letters, digits, '-', '_' and '.', and begin with a letter or digit; "
            f"for example: {default_slug(slug)}",
        )
    if len(slug) > 100:
        raise AnswerError("project_slug", slug, f"is {len(slug)} characters long; use at most 100")
    first_part = slug.split(".")[0]
    if first_part in WINDOWS_DEVICES or slug in RESERVED_NAMES:
        raise AnswerError(
            "project_slug", slug, f"is a reserved name; for example: {default_slug(first_part)}"
        )
    return slug


def medplum_url(value: object) -> str:
    """Check the address of a Medplum server and end it with exactly one slash."""
    url = _url(value, "medplum_base_url", "https://api.medplum.com/")
    parts = urlsplit(url)
    if parts.hostname == "app.medplum.com":
        raise AnswerError(
            "medplum_base_url",
            url,
            "is the web application; the address of its server is https://api.medplum.com/",
        )
    if parts.scheme == "http" and parts.hostname not in THIS_MACHINE:
        raise AnswerError(
            "medplum_base_url",
            url,
            "must use https, because the tools send a client secret there, "
            "which http leaves unencrypted; only a server on this machine may use http",
        )
    if re.search(r"/(fhir(/R4)?|oauth2|admin)$", url):
        raise AnswerError(
            "medplum_base_url",
            url,
            f"must be the server's root; for example: {parts.scheme}://{parts.netloc}/",
        )
    return f"{url}/"


def fhir_url(value: object) -> str:
    """Check the address of the external FHIR server and remove the slashes at its end."""
    return _url(value, "external_fhir_url", "https://fhir.example.com/fhir")


def _url(value: object, question: str, example: str) -> str:
    """Check an http or https address that may be public; return it without a slash at its end."""
    text = str(value).strip()
    if "@" in text:
        raise AnswerError(
            question,
            text,
            "must not contain a user name or password, which would be committed; "
            "give credentials to the bots as secrets",
            secret=True,
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AnswerError(
            question, text, f"is not a valid address; for example: {example}"
        ) from None
    if "?" in text or "#" in text:
        raise AnswerError(question, text, "must not have a query or fragment", secret=True)
    path = parts.path.rstrip("/")
    problem = _url_problem(text, parts.scheme, host, path)
    if problem:
        raise AnswerError(question, text, f"{problem}; for example: {example}")
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port is None else f":{port}"
    return f"{parts.scheme}://{shown_host}{shown_port}{path}"


def _url_problem(text: str, scheme: str, host: str, path: str) -> str | None:
    """Return what is wrong with an address, or None."""
    if scheme not in ("http", "https") or not PLAIN_ADDRESS.fullmatch(text):
        return "must begin with https:// and contain no spaces or quotes"
    if _ip_address(host) is None and not HOST_NAME.fullmatch(host):
        return "has no valid host name (write other alphabets as xn--…)"
    if not text.isascii():
        return "must be written in ASCII"
    if "//" in path:
        return "must not have two slashes in a row in its path"
    if scheme == "http" and not _is_private(host):
        return "must use https, because http would send patient data unencrypted"
    return None


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_private(host: str) -> bool:
    """Return whether a host is this machine or in a private network."""
    address = _ip_address(host)
    if address is None:
        return "." not in host or host.endswith(PRIVATE_SUFFIXES)
    # Python before 3.13 calls ::ffff:8.8.8.8 private.
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_private or address.is_loopback


def json_text(value: object) -> str:
    """Write a text as a JSON string and escape only what JSON requires."""
    return json.dumps(str(value), ensure_ascii=False)


def markdown(value: object) -> str:
    """Escape a text so that GitHub and GitLab show it as it is."""
    text = re.sub(r"([\\`*_\[\]<>&#|~$])", r"\\\1", str(value).strip())
    # Both turn @name and :smile: into links and pictures after Markdown's escapes are gone. An
    # empty comment splits the word, and is not shown.
    text = re.sub(r"@(?=\w)", "@<!-- -->", text)
    text = re.sub(r":(?=[\w+-]+:)", ":<!-- -->", text)
    text = re.sub(r"^([-+=])", r"\\\1", text)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text)


def plain_answers(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers to the questions, with true or false for yes or no.

    Cookiecutter before 2.7 gives the answer `no` as text, which Python takes as true.
    """
    plain = {name: value for name, value in answers.items() if not name.startswith("_")}
    for name in ("init_git", "install_dependencies"):
        if name in plain:
            plain[name] = _as_boolean(plain[name])
    return plain


def recreate_command(answers: Mapping[str, Any]) -> str:
    """Return the command that generates the same repository again, for a POSIX shell.

    The answers are one JSON argument in single quotes, so its own single quotes are JSON escapes.
    """
    source = template_source(answers)
    extra_context = json.dumps(plain_answers(answers), ensure_ascii=False).replace("'", "\\u0027")
    return (
        f"uvx cruft create {source['address']} --checkout {source['checkout']} "
        f"--no-input --extra-context '{extra_context}'"
    )


def template_source(answers: Mapping[str, Any]) -> dict[str, str]:
    """Return where this template comes from: its git address, version, and tag or commit."""
    return {
        "address": _template_address(str(answers.get("_template", ""))),
        "version": VERSION,
        "checkout": _tag_or_commit() or str(answers.get("_commit") or f"v{VERSION}"),
    }


def _template_address(template: str) -> str:
    """Return a git address that other people can use.

    A clone on this machine becomes the address it was cloned from, a zip file that of the
    template's home.
    """
    origin = _git("config", "--get", "remote.origin.url") or ""
    return _public_address(template) or _public_address(origin) or HOME


def _public_address(address: str) -> str | None:
    """Return the https address of a git repository; None for a folder, a zip file and others.

    Addresses with credentials or queries are not repeated.
    """
    hosts = {"gh:": "github.com", "gl:": "gitlab.com", "bb:": "bitbucket.org"}
    for prefix, host in hosts.items():
        if address.startswith(prefix):
            address = f"https://{host}/{address.removeprefix(prefix)}"
    address = re.sub(r"^git@([\w.-]+):", r"https://\1/", address)
    address = re.sub(r"^ssh://(?:[\w.-]+@)?([\w.-]+)(?::\d+)?/", r"https://\1/", address)
    if not re.fullmatch(r"https://[\w.-]+(:\d+)?/[\w./~-]+", address, re.ASCII):
        return None
    if address.endswith(".zip"):
        return None
    return address.removesuffix("/").removesuffix(".git")


def _tag_or_commit() -> str | None:
    """Return this version's tag if this copy of the template is at it, else its commit.

    None if neither git nor the zip file names the commit.
    """
    # %D lists the tags of the commit.
    shown = _git("log", "-1", "--format=%H %D") or ARCHIVED_COMMIT
    if shown.startswith("$"):
        return None
    commit, _, references = shown.partition(" ")
    tag = f"v{VERSION}"
    return tag if f"tag: {tag}" in references.split(", ") else commit


def _git(*arguments: str) -> str | None:
    """Return what git prints about the template's repository; None without git or repository."""
    repository = TEMPLATE_FOLDER / ".git"
    if not repository.exists():
        return None
    # With --git-dir, a GIT_DIR variable has no effect. Signatures would be printed among the rest.
    line = ("git", f"--git-dir={repository}", "-c", "log.showSignature=false", *arguments)
    try:
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
