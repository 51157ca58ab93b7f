"""Replays a recording of a real server (`tests/servers/recordings`) against another server.

A recording's own `how` explains its variables and wildcards. What is recorded must be in the
answer, which may contain more. Lists are compared as far as they are recorded. Texts for people
only have to be present.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import uuid
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

WILDCARDS = {
    "<any>": ".*",
    "<uuid>": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<hmac>": "[0-9a-f]{64}",
}
WORDING = {
    "display",
    "name",
    "outcomeDesc",
    "scope",
    "text",
}  # worded by the server: only their presence is compared
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT")
EVENT = "EVENT "  # what the recorded bot logs: this, and as JSON what it was called with
EVENT_VARIES = {"author", "requester"}
POLL_S = 0.1
TIMEOUT_S = 60  # the first answer to `metadata` takes a HAPI server seconds


@dataclass(frozen=True)
class StepResult:
    """What one step showed; no misses: the answer was as recorded."""

    name: str
    misses: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: header names in lower case; a body that is not JSON is its text."""

    status: int
    headers: dict[str, str]
    body: Any


def replay(
    recording: Path, base: str, variables: Mapping[str, str] | None = None
) -> list[StepResult]:
    """Send each step's request to the server at `base`, in order, and compare its answer.

    `variables` are those that the recording's `how` calls given (`project`, `client`, …); `base`,
    `sys`, `val` and `uuid` have default values. A failed step does not stop the replay, but a
    variable that it should have saved is missing in later steps.
    """
    known = {
        "base": base.rstrip("/") + "/",
        "sys": "https://medplum.com/patient-id",
        "val": f"rep-{uuid.uuid4().hex[:8]}",
        "uuid": str(uuid.uuid4()),
        **(variables or {}),
    }
    return [
        StepResult(step["name"], tuple(_replay_step(step, known)))
        for step in json.loads(recording.read_text(encoding="utf-8"))["steps"]
    ]


def report(results: list[StepResult]) -> str:
    """List the steps that missed, a line each, for an assertion's message; empty if none did."""
    missed = [result for result in results if result.misses]
    lines = [f"{len(missed)} of {len(results)} steps are not as recorded:"]
    lines += [f"  {result.name}: {'; '.join(result.misses)[:400]}" for result in missed]
    return "\n".join(lines) if missed else ""


def _replay_step(step: dict[str, Any], known: dict[str, str]) -> list[str]:
    """Send a step until the answer is as recorded, for at most the step's `waits_up_to_s`."""
    if unknown := set(re.findall(r"\$\{(\w+)}", step["request"]["path"])) - set(known):
        return [f"not sent: {', '.join(sorted(unknown))} unknown"]
    end = time.monotonic() + step.get("waits_up_to_s", 0)
    while True:
        misses = _ask_once(step, known)
        if not misses or time.monotonic() > end:
            return misses
        time.sleep(POLL_S)


def _ask_once(step: dict[str, Any], known: dict[str, str]) -> list[str]:
    want = step["response"]
    try:
        answer = _send(_fill(step["request"], known), known, step.get("as", "token"))
    except (OSError, http.client.HTTPException) as error:
        return [f"no answer: {error!r}"]
    misses = []
    for name, path in step.get("save", {}).items():
        try:
            known[name] = _find(answer.body, path)
        except (LookupError, TypeError, ValueError):
            misses.append(f"no {path} to keep as {name}")
    if answer.status != want["status"]:
        misses.append(f"status {answer.status} for {want['status']}")
    for name, value in want.get("headers", {}).items():
        got = answer.headers.get(name)
        if name == "content-type":  # a charset may be spelled in many ways
            value, got = value.partition(";")[0], (got or "").partition(";")[0]
        misses += differences(_fill(value, known), got, name)
    return misses + differences(
        _fill(want["body"], known), cut_like(want["body"], answer.body), "body"
    )


def _send(request: dict[str, Any], known: dict[str, str], login: str) -> Answer:
    """Send a request with the token that the variable `login` holds."""
    headers = {
        "Cache-Control": "no-cache",  # HAPI answers searches from its cache otherwise
        "Content-Type": "application/fhir+json",  # of every request, as when it was recorded
    }
    if request.get("auth", True) and "token" in known:
        headers["Authorization"] = f"Bearer {known.get(login, 'none')}"
    body: Any = request.get("body")
    if request.get("form"):
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(body)
    elif body is not None:
        body = body if isinstance(body, str) else json.dumps(_inflate(body))
    headers.update(request.get("headers", {}))
    url = urlsplit(known["base"])
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    with closing(kind(url.netloc, timeout=TIMEOUT_S)) as connection:
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # a body too large may be answered while it is sent
            connection.request(
                request["method"], url.path + request["path"], body and body.encode(), headers
            )
        response = connection.getresponse()
        content = response.read().decode(errors="replace")
        received = {name.lower(): value for name, value in response.getheaders()}
    with suppress(ValueError):
        return Answer(response.status, received, json.loads(content))
    return Answer(response.status, received, content)


def _inflate(body: Any) -> Any:
    """Replace code that is recorded as `<1,100,002 characters>` by a comment of that length."""
    code = body.get("code") if isinstance(body, dict) else None
    if isinstance(code, str) and (cut := re.fullmatch(r"<([\d,]+) characters>", code)):
        return {**body, "code": "//".ljust(int(cut[1].replace(",", "")), "x")}
    return body


def _fill(value: Any, known: Mapping[str, str]) -> Any:
    """Replace known variables in all strings of a JSON value. Other `${…}` are code, and stay."""
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)}", lambda found: known.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [_fill(item, known) for item in value]
    return (
        {name: _fill(item, known) for name, item in value.items()}
        if isinstance(value, dict)
        else value
    )


def _find(body: Any, path: str) -> str:
    """Return what a step saves: the value at a path like `entry.0.resource.id`, or a version."""
    if worded := re.fullmatch(r"the versionId of the newest entry whose code is (.+)", path):
        versions = [entry["resource"] for entry in body["entry"] if _title(entry) == worded[1]]
        return str(versions[0]["meta"]["versionId"])
    for part in path.split("."):
        body = body[int(part)] if isinstance(body, list) else body[part]
    return str(body)


def cut_like(want: Any, got: Any) -> Any:
    """Shorten an answer as its recording was shortened; a step's `note` says how."""
    if not isinstance(want, dict) or not isinstance(got, dict):
        return got
    entries, cut = got.get("entry", []), dict(got)
    if "n" in want:
        cut["n"] = len(entries)
    if isinstance(want.get("software"), str):
        cut["software"] = got.get("software", {}).get("name")
    if want.get("link") and isinstance(want["link"][0], str):
        cut["link"] = [link["relation"] for link in got.get("link", [])]
    recorded = (want.get("entry") or [None])[0]
    if isinstance(recorded, dict) and "status" in recorded:
        cut["entry"] = [entry.get("response") for entry in entries]
    elif isinstance(recorded, dict) and "title" in recorded:
        cut["entry"] = [{"title": _title(entry)} for entry in entries]
    return cut


def _title(entry: dict[str, Any]) -> str | None:
    title: str | None = (entry.get("resource") or {}).get("executableCode", {}).get("title")
    return title


def differences(want: Any, got: Any, path: str = "") -> list[str]:
    """Return what `got` lacks of the recorded `want`, each difference with its path."""
    if want == "<any>":
        return [f"{path}: missing"] if got is None else []
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return [f"{path}: {_short(got)} for an object"]
        return [
            miss
            for name, value in want.items()
            for miss in differences(value, got.get(name), f"{path}.{name}")
        ]
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) < len(want):
            found = len(got) if isinstance(got, list) else _short(got)
            return [f"{path}: {found} for {len(want)} items"]
        return [
            miss
            for i, value in enumerate(want)
            for miss in differences(value, got[i], f"{path}[{i}]")
        ]
    if isinstance(want, str):
        return _text_differences(want, got, path)
    same = want == got and isinstance(want, bool) == isinstance(got, bool)
    return [] if same else [f"{path}: {_short(got)} for {_short(want)}"]


def _text_differences(want: str, got: Any, path: str) -> list[str]:
    if not isinstance(got, str):
        return [f"{path}: {_short(got)} for {_short(want)}"]
    member = path.rpartition(".")[2]
    if member == "outcomeDesc" and want.startswith(EVENT):
        try:
            return differences(_event(want, EVENT_VARIES), _event(got), f"{path}.EVENT")
        except ValueError:
            return [f"{path}: {_short(got)} is not an EVENT line"]
    if member == "diagnostics":  # HAPI's numbers are all that tells its errors apart
        lost = set(re.findall(r"HAPI-\d{4}", want)) - set(re.findall(r"HAPI-\d{4}", got))
        return [f"{path}: no {' '.join(sorted(lost))} in {_short(got)}"] if lost or not got else []
    if member in WORDING:
        matches = bool(got)
    elif DATE_TIME.match(want):
        matches = bool(DATE_TIME.match(got))
    else:
        pattern = re.escape(want)
        for wildcard, expression in WILDCARDS.items():
            pattern = pattern.replace(re.escape(wildcard), expression)
        matches = bool(re.fullmatch(pattern, got, re.DOTALL))
    return [] if matches else [f"{path}: {_short(got)} for {_short(want)}"]


def _event(line: str, leave_out: set[str] | None = None) -> Any:
    """Read a bot's EVENT line, with header names in lower case and without members that vary.

    Raises ValueError if it is not JSON with an object.
    """

    def without(value: Any) -> Any:
        if isinstance(value, list):
            return [without(item) for item in value]
        if isinstance(value, dict):
            return {
                name: without(item) for name, item in value.items() if name not in (leave_out or ())
            }
        return value

    event = json.loads(line.removeprefix(EVENT))
    if not isinstance(event, dict):
        raise ValueError(line)
    event["headers"] = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    return without(event)


def _short(value: Any) -> str:
    return repr(value)[:80]
