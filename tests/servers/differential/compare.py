"""Where two answers to the same request differ.

Of an OperationOutcome only severity, code and the first HAPI-nnnn count: texts are for people.
Search results are compared as sets, unless the search sorts by something other than ids.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.servers.differential.server import Answer
from tests.servers.differential.steps import Step

UNORDERED_PAGE = re.compile(r"_count=\d\b|_offset")  # any of the results may come first
MOST_SHOWN = 3
NOT_MODIFIED = 304


@dataclass(frozen=True)
class Difference:
    """One aspect in which the answers differ, with both values."""

    aspect: str
    local: Any
    real: Any


def compare(step: Step, local: Answer, real: Answer) -> list[Difference]:
    """List the differences between two answers to a step; none: they are equal."""
    if local.status != real.status:
        labels = f" of {' + '.join(sorted(set(step.labels)))}" if step.labels else ""
        aspect = f"status {local.status} for {real.status}{labels}"
        return [Difference(aspect, brief(local.body), brief(real.body))]
    return [*_headers(step, local, real), *_bodies(step, local.body, real.body)]


def _headers(step: Step, local: Answer, real: Answer) -> list[Difference]:
    is_bundle = isinstance(real.body, dict) and real.body.get("resourceType") == "Bundle"
    if step.method == "HEAD" or local.status == NOT_MODIFIED:
        return []
    names = ("content-type", "etag") if is_bundle else tuple(local.headers)
    return [
        Difference(f"header {name}", local.headers[name], real.headers[name])
        for name in names
        if _header_value(local.headers[name]) != _header_value(real.headers[name])
    ]


def _header_value(value: Any) -> Any:
    """A charset may be written in many ways."""
    return value.split(";")[0].lower() if isinstance(value, str) else value


def _bodies(step: Step, local: Any, real: Any) -> list[Difference]:
    kinds = [
        body.get("resourceType") if isinstance(body, dict) else type(body).__name__
        for body in (local, real)
    ]
    if kinds[0] != kinds[1]:
        return [Difference(f"body is {kinds[0]} for {kinds[1]}", brief(local), brief(real))]
    if kinds[0] == "OperationOutcome":
        return (
            []
            if _issues(local) == _issues(real)
            else [Difference("outcome", brief(local), brief(real))]
        )
    if kinds[0] != "Bundle":
        return deep_differences(local, real)
    if local.get("type") != real.get("type"):
        return [Difference("bundle type", local.get("type"), real.get("type"))]
    if local["type"] == "searchset":
        return _searchsets(step, local, real)
    return _entries(step, local.get("entry", []), real.get("entry", []))


def _issues(outcome: dict[str, Any]) -> list[str]:
    def facts(issue: dict[str, Any]) -> str:
        numbers = re.findall(r"HAPI-\d+", issue.get("diagnostics") or "")[:1]
        return str((issue.get("severity"), issue.get("code"), numbers))

    return sorted(facts(issue) for issue in outcome.get("issue", []))


def _entries(step: Step, local: list[Any], real: list[Any]) -> list[Difference]:
    """Compare histories, and the answers to batches and transactions, entry by entry."""
    if len(local) != len(real):
        return [Difference("number of entries", len(local), len(real))]
    found: list[Difference] = []
    for number, (mine, theirs) in enumerate(zip(local, real, strict=True)):
        label = f"({step.labels[number]}) " if number < len(step.labels) else ""
        found += [
            Difference(f"entry {label}{one.aspect}", one.local, one.real)
            for one in _entry(step, mine, theirs)
        ]
    return found[:2]


def _entry(step: Step, local: dict[str, Any], real: dict[str, Any]) -> list[Difference]:
    mine, theirs = local.get("response") or {}, real.get("response") or {}
    if str(mine.get("status"))[:3] != str(theirs.get("status"))[:3]:
        aspect = f"status {mine.get('status')} for {theirs.get('status')}"
        return [Difference(aspect, brief(local), brief(real))]
    found = [
        Difference(name, mine.get(name), theirs.get(name))
        for name in ("status", "etag", "location")
        if mine.get(name) != theirs.get(name)
    ]
    for name, first, second in (
        ("outcome", mine.get("outcome"), theirs.get("outcome")),
        ("resource", local.get("resource"), real.get("resource")),
        ("request", local.get("request"), real.get("request")),
    ):
        if (first is None) != (second is None):
            found.append(Difference(f"{name} present or not", brief(first), brief(second)))
        elif first is not None:
            found += _bodies(step, first, second)
    return found


def _searchsets(step: Step, local: dict[str, Any], real: dict[str, Any]) -> list[Difference]:
    found = []
    if local.get("total") != real.get("total"):
        found.append(Difference("total", local.get("total"), real.get("total")))
    relations = [
        sorted(link["relation"] for link in body.get("link", [])) for body in (local, real)
    ]
    if relations[0] != relations[1]:
        found.append(Difference("links", *relations))
    return [*found, *_results(step, local.get("entry", []), real.get("entry", []))]


def _results(step: Step, local: list[Any], real: list[Any]) -> list[Difference]:
    is_sorted = "_sort" in step.path and "_sort=_id" not in step.path  # ids differ
    identities = [sorted(map(_identity, entries)) for entries in (local, real)]
    if identities[0] != identities[1]:
        is_unordered_page = UNORDERED_PAGE.search(step.path) and not is_sorted
        if is_unordered_page and len(identities[0]) == len(identities[1]):
            return []
        return [Difference("which entries", *identities)]
    mine, theirs = ([_content(entry) for entry in entries] for entries in (local, real))
    if sorted(mine) != sorted(theirs):
        pairs = zip(sorted(mine), sorted(theirs), strict=True)
        first, second = next((one, other) for one, other in pairs if one != other)
        return [
            Difference(f"entry {one.aspect}", one.local, one.real)
            for one in deep_differences(json.loads(first), json.loads(second))[:1]
        ]
    return [Difference("order", mine, theirs)] if is_sorted and mine != theirs else []


def _identity(entry: dict[str, Any]) -> str:
    resource = entry["resource"]
    return (
        f"{(entry.get('search') or {}).get('mode')} {resource['resourceType']}/{resource.get('id')}"
    )


def _content(entry: dict[str, Any]) -> str:
    parts = [(entry.get("search") or {}).get("mode"), entry.get("resource", {})]
    return json.dumps(parts, sort_keys=True, ensure_ascii=False)


def deep_differences(local: Any, real: Any, path: str = "body") -> list[Difference]:
    """Return the first places where two JSON values differ."""
    if isinstance(local, dict) and isinstance(real, dict):
        found: list[Difference] = []
        for key in sorted({*local, *real}):
            if key in local and key in real:
                found += deep_differences(local[key], real[key], f"{path}.{key}")
            else:
                where = "only local" if key in local else "only real"
                values = brief(local.get(key)), brief(real.get(key))
                found.append(Difference(f"{path}.{key} {where}", *values))
        return found[:MOST_SHOWN]
    if isinstance(local, list) and isinstance(real, list) and len(local) == len(real):
        items = zip(local, real, strict=True)
        return [
            one for mine, theirs in items for one in deep_differences(mine, theirs, f"{path}[]")
        ][:MOST_SHOWN]
    return [] if local == real else [Difference(path, brief(local), brief(real))]


def brief(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:400]
