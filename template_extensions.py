"""The template's Jinja filters: answers are checked as they are given, and written safely where they end up.

A filter that refuses an answer prints one `Error: …` line and leaves with exit code 1. It is called from a private
`__check_…` variable that follows its question in cookiecutter.json, so nothing is written and no later question asked.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from jinja2 import Environment
from jinja2.ext import Extension

VERSION = "0.1.0"
"""This template's version: a git tag `v…`, an entry of CHANGELOG.md, and a line in every repository it makes."""

HOME = "https://github.com/org/medplum-bots"

# Characters that end a line, steer a terminal, or cannot be stored as UTF-8 (half of a surrogate pair).
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Overrides and isolates show what follows them in another order than it is in. (Right-to-left marks do not.)
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
JINJA = re.compile(r"\{[{%#]")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?", re.ASCII)
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
# Folders that tools treat as theirs, and names that npm refuses.
RESERVED = {"node_modules", "favicon.ico", "dist", "build", "src", "tests", "tools"}
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test")


class MedplumBots(Extension):
    """Hands the filters to the Jinja environment that Cookiecutter makes."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        filters = (one_line, default_slug, project_slug, medplum_url, fhir_url, keep_existing)
        filters += (json_text, markdown, recreate_command)  # type: ignore[assignment]
        environment.filters.update({function.__name__: function for function in filters})
        environment.globals["template_version"] = VERSION
        environment.compile = _without_jinja_at_once(environment.compile)  # type: ignore[method-assign]
        # `cruft update` renders the old and the new template in one process: each must import its own filters.
        sys.modules.pop(__name__, None)


def _without_jinja_at_once(compile_template: Callable[..., Any]) -> Callable[..., Any]:
    """Let text without Jinja past Jinja's compiler: nearly all files and paths here, and a fifth of a bake's time.

    Such text becomes the code that Jinja itself would make of it: a `root` that yields the text. That is compiled once,
    with a constant that gives way to each text.
    """
    lines = ("name, blocks, debug_info, text = None, {}, '', 'TEXT'", "def root(*_):", "    yield text")
    code = compile("\n".join(lines), "<text>", "exec")

    def compile_text(source: Any, name: str | None = None, filename: str | None = None, *rest: Any) -> Any:
        if rest or not isinstance(source, str) or "\r" in source or JINJA.search(source):
            return compile_template(source, name, filename, *rest)
        return code.replace(co_consts=tuple(source if constant == "TEXT" else constant for constant in code.co_consts))

    return compile_text


def refuse(question: str, value: object, cure: str, *, show: bool = True) -> NoReturn:
    """Print what is wrong with an answer and what would be right, in one line, and stop (exit code 1).

    `show` is False where the answer may hold a secret.
    """
    text = str(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    shown = f" {text!a}" if show else ""
    print(f"Error: {question}{shown}: {cure}", file=sys.stderr)
    # SystemExit, as click's own exceptions end in a traceback under cruft.
    raise SystemExit(1)


def one_line(value: object, question: str, required: bool = False) -> str:
    """Check a free text: one line that can be stored anywhere and means the same when it is rendered again."""
    text = str(value)
    if UNPRINTABLE.search(text):
        refuse(question, text, "must be one line without control characters; type it again without them")
    if TURNING.search(text):
        refuse(question, text, "must not turn text around (U+202A to 202E, U+2066 to 2069); type it again without that")
    if JINJA.search(text):
        # `cruft update` hands the answers to Jinja once more.
        refuse(question, text, "must not contain {{, {% or {#, which this template would read as its own code")
    if len(text) > 200:
        refuse(question, text, f"is {len(text)} characters long; use at most 200")
    if required and not text.strip():
        refuse(question, text, "must not be empty; for example: My Medplum Bots")
    return text


def default_slug(name: object) -> str:
    """Suggest a folder and package name for a project name, in ASCII: `Élan Bots` -> `elan-bots`."""
    from slugify import slugify

    slug = slugify(str(name), max_length=60) or "medplum-bots"
    return f"{slug}-bots" if slug in WINDOWS_DEVICES or slug in RESERVED else slug


def project_slug(value: object) -> str:
    """Check a folder and package name: npm's rules, Windows' reserved names, and that nothing is there yet."""
    slug = str(value)
    if not SLUG.fullmatch(slug):
        cure = "use lower-case letters, digits, '-', '_' and '.', beginning with a letter or digit"
        refuse("project_slug", slug, f"{cure}; for example: {default_slug(slug)}")
    if len(slug) > 100:
        refuse("project_slug", slug, f"is {len(slug)} characters long; use at most 100")
    if slug.split(".")[0] in WINDOWS_DEVICES or slug in RESERVED:
        refuse("project_slug", slug, f"is a reserved name; for example: {default_slug(slug.split('.')[0])}")
    target, overwrite = _target(slug)
    if target and target.exists() and not (overwrite and target.is_dir()):
        cure = f"{target} exists already; choose another name"
        refuse("project_slug", slug, cure if overwrite else f"{cure}, or write over it with -f")
    return slug


def medplum_url(value: object) -> str:
    """Check the Medplum server's address and give it exactly one slash at its end."""
    url = _url(value, "medplum_base_url", "https://api.medplum.com/")
    if urlsplit(url).hostname == "app.medplum.com":
        refuse("medplum_base_url", url, "is the web application; its server is https://api.medplum.com/")
    if re.search(r"/(fhir(/R4)?|oauth2|admin)$", url):
        refuse(
            "medplum_base_url",
            url,
            f"must be the server's root; for example: {urlsplit(url).scheme}://{urlsplit(url).netloc}/",
        )
    return f"{url}/"


def fhir_url(value: object) -> str:
    """Check the external FHIR server's address and take off the slashes at its end."""
    return _url(value, "external_fhir_url", "http://localhost:8080/fhir")


def keep_existing(slug: str) -> str:
    """Copy a folder that `-f` is about to write over; the hook keeps of the copy what really differs.

    The copy's place goes to the hook in the environment, as answers are stored for replays and a place must not be. It
    is empty where there is no copy, and missing where the command makes no repository, as `cruft update`.
    """
    target, overwrite = _target(slug)
    if target:
        os.environ["MEDPLUM_BOTS_KEPT"] = ""
    if target and overwrite and target.is_dir() and any(target.iterdir()):
        number = 1
        while (copy := target.with_name(f"{slug}.before-{number}")).exists():
            number += 1
        shutil.copytree(target, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", "node_modules", "dist"))
        os.environ["MEDPLUM_BOTS_KEPT"] = str(copy)
    return ""


def json_text(value: object) -> str:
    """Write a text as a JSON string, readable: only what JSON itself demands is escaped."""
    return json.dumps(str(value), ensure_ascii=False)


def markdown(value: object) -> str:
    """Escape a text so that Markdown shows it as it is."""
    text = re.sub(r"([\\`*_\[\]<>&#|~])", r"\\\1", str(value).strip())
    text = re.sub(r"^([-+=])", r"\\\1", text)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text)


def recreate_command(answers: Mapping[str, Any]) -> str:
    """Return the command that makes the same repository again, for a POSIX shell.

    The answers are one JSON argument in single quotes, so its own single quotes are written as JSON escapes.
    """
    given = json.dumps({name: answers[name] for name in answers if not name.startswith("_")}, ensure_ascii=False)
    address = _template_address(str(answers.get("_template", "")))
    extra = given.replace("'", "\\u0027")
    return f"uvx cruft create {address} --checkout v{VERSION} --no-input --extra-context '{extra}'"


def _template_address(template: str) -> str:
    """Return a git address that others can use too; a folder or zip on this machine becomes the template's home."""
    for prefix, host in (("gh:", "github.com"), ("gl:", "gitlab.com"), ("bb:", "bitbucket.org")):
        if template.startswith(prefix):
            template = f"https://{host}/{template.removeprefix(prefix)}"
    template = re.sub(r"^git@([\w.-]+):", r"https://\1/", template)
    # Anything but a plain address (credentials, a query, a zip) is not repeated.
    if not re.fullmatch(r"https://[\w.-]+(:\d+)?/[\w./~-]+", template, re.ASCII) or template.endswith(".zip"):
        return HOME
    return template.removesuffix("/").removesuffix(".git")


def _url(value: object, question: str, example: str) -> str:
    """Check an http(s) address that anyone may read; return it without slashes at its end."""
    text = str(value).strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        refuse(question, text, f"is not an address; for example: {example}", show="@" not in text)
    if "@" in text:
        cure = "must not carry a user name or password (they would be committed); give credentials as bot secrets"
        refuse(question, text, cure, show=False)
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        refuse(question, text, "must not have a query or fragment", show=False)
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[^\s\"'`<>\\{}|^$%]+", text):
        refuse(question, text, f"must begin with https:// and hold no spaces or quotes; for example: {example}")
    is_ip = _ip(host) is not None
    if not is_ip and not re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", host, re.ASCII):
        refuse(question, text, f"has no valid host name (non-Latin names as xn--…); for example: {example}")
    if not text.isascii():
        refuse(question, text, f"must be written in ASCII; for example: {example}")
    if parts.scheme == "http" and not _is_private(host):
        refuse(
            question,
            text,
            f"must use https: over http patients' data would cross the network in the open; "
            f"for example: https://{host}/",
        )
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    return f"{parts.scheme}://{netloc}{parts.path}".rstrip("/")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_private(host: str) -> bool:
    """Say whether a host is this machine or on a private network: a private address, a bare or a local name."""
    ip = _ip(host)
    if ip is not None:
        ip = getattr(ip, "ipv4_mapped", None) or ip  # ::ffff:8.8.8.8, which Python before 3.13 takes for private
        return ip.is_private or ip.is_loopback
    return "." not in host or host.endswith(PRIVATE_SUFFIXES)


def _target(slug: str) -> tuple[Path | None, bool]:
    """Return the folder that the running command will write, where it can be known, and whether it may exist.

    Cookiecutter tells filters neither; its command line does (cruft's typer carries its own copy of click).
    """
    for name in ("click.globals", "typer._click.globals"):
        click = sys.modules.get(name)
        context = click.get_current_context(silent=True) if click else None
        if context and "output_dir" in context.params:
            overwrite = bool(context.params.get("overwrite_if_exists"))
            return Path(context.params["output_dir"]).absolute() / slug, overwrite
    return None, False
