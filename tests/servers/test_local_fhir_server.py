"""The local FHIR server and a real HAPI server answer the same requests alike.

These requests are not in the recording. Compared are status, the HAPI-nnnn of errors, the headers
that clients use, and resources as a whole; not the wording.
"""

from __future__ import annotations

import http.client
import json
import re
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.support import local_fhir
from tests.support.hapi_server import HapiServer

SYSTEM = "urn:local-like-real"
UUID = str(uuid.uuid4())[:-1]  # a digit completes it; new each time, because tombstones stay
TYPES = ("Observation", "Library", "Patient", "Organization")
HEADERS = ("etag", "location", "content-location")


def query(value: str, system: str = SYSTEM) -> str:
    return "identifier=" + quote(f"{system}|{value}", safe="")


def patient(value: str | None = None, **more: Any) -> dict[str, Any]:
    identifier = {"identifier": [{"system": SYSTEM, "value": value}]} if value else {}
    return {"resourceType": "Patient", **identifier, **more}


def library(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Library",
        "status": "draft",
        "identifier": [{"system": "urn:x", "value": f"34X{number}"}],
    }


def refer(reference: str) -> dict[str, Any]:
    return patient(managingOrganization={"reference": reference})


def observe(reference: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": reference},
    }


def linked(value: str | None, reference: str, **more: Any) -> dict[str, Any]:
    return patient(value, link=[{"other": {"reference": reference}, "type": "seealso"}], **more)


def entry(method: str, url: str, resource: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "request": {"method": method, "url": url},
        **({"resource": resource} if resource else {}),
        **more,
    }


def bundle(kind: str, *entries: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


class Client:
    """Sends requests to one server and keeps its answers, without what may differ."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.answers: list[tuple[str, Any]] = []
        self.ids: dict[str, str] = {}

    def send(self, method: str, path: str, body: Any = None, keep: str = "", **headers: str) -> Any:
        url = urlsplit(self.base)
        if body is not None and not isinstance(body, str):
            body = json.dumps(body)
        data = None if body is None else body.encode()
        sent = {"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection(url.netloc, timeout=60)) as connection:
            connection.request(method, f"{url.path}/{path}" if path else url.path, data, sent)
            response = connection.getresponse()
            text = response.read().decode()
        answer = json.loads(text) if text.startswith("{") else {}
        if keep:
            self.ids[answer["id"]] = f"<{keep}>"
        shown = {
            name: response.headers[name]
            for name in HEADERS
            if "/Bundle/" not in (response.headers[name] or "/Bundle/")
        }
        self.answers.append(
            (
                f"{method} {path} {body or ''}"[:160],
                [response.status, shown, self._shape(answer, text)],
            )
        )
        return answer

    def _shape(self, answer: Any, text: str) -> Any:
        kind = answer.get("resourceType")
        if kind == "Bundle":
            told = [
                {key: one.get("response", {}).get(key) for key in ("status", "etag")}
                for one in answer.get("entry", [])
            ]
            resources = [
                one["resource"]["id"] for one in answer.get("entry", []) if "resource" in one
            ]
            return {
                "type": answer["type"],
                "total": answer.get("total"),
                "entry": told,
                "ids": sorted(resources),
            }
        if kind != "OperationOutcome":
            return answer
        codes = [
            coding["code"]
            for issue in answer["issue"]
            for coding in issue.get("details", {}).get("coding", [])
        ]
        return {
            "severity": answer["issue"][0]["severity"],
            "numbers": re.findall(r"HAPI-\d{4}", text),
            "codes": codes,
        }

    def told(self) -> list[tuple[str, str]]:
        def plain(value: Any) -> str:
            text = json.dumps(value, sort_keys=True).replace(self.base, "BASE")
            for found, name in self.ids.items():
                text = re.sub(rf'(?<=[/"\[]){re.escape(found)}(?=["/,\]])', name, text)
            text = re.sub(r'"\d{4}-\d\d-\d\dT[^"]*"', '"TIME"', text)
            return re.sub(r'(?<=[/"])\d{4,}(?=["/])', "<number>", text)

        return [(plain(name), plain(value)) for name, value in self.answers]


def conditional(client: Client) -> None:
    send = client.send
    for body in (
        patient("a"),
        patient("a"),
        patient("a", active=True),
        patient("a", active=True, id="x", foo=1),
        patient(),
    ):
        send("PUT", f"Patient?{query('a')}", body)
    send("PUT", f"Patient?{query('a')}", patient("b"))
    send("PUT", f"Patient?{query('a')}", patient("a"), If_Match='W/"9"')
    for text in (
        "identifier=",
        "https://x%7Cy",
        "_format=json",
        "foo=bar",
        "identifier=%7Cnone",
        "identifier=urn:no%7C",
    ):
        send("PUT", f"Patient?{text}", patient("z"))
    for value, written in (
        ("x,y|z\\$", "x\\,y\\|z\\\\\\$"),
        ("p|q", "p|q"),
        ("a & b", "a & b"),
        ("żółć 名", "żółć 名"),
        ("sp ", "sp "),
    ):
        for _ in range(2):
            send("PUT", f"Patient?{query(written)}", patient(value))
    send("POST", "Patient", patient("n"), If_None_Exist=query("n"))
    send("POST", "Patient", patient("n"), If_None_Exist=query("n"))
    send("PUT", f"Patient?{query('n')}%2Cp", patient("n"))
    send("PUT", f"Patient?{query('min')}", patient("min"), Prefer="return=minimal")
    meta = {
        "tag": [{"system": "t", "code": "1"}],
        "profile": ["http://p"],
        "security": [{"system": "z", "code": "R"}],
    }
    for given in (meta, {}, {"project": "p", "author": {"reference": "x/y"}}):
        send("PUT", f"Patient?{query('meta')}", patient("meta", meta=given))
    whole = {"X_Meta_Snapshot_Mode": "TAG, SECURITY_LABEL, PROFILE"}
    send(
        "PUT",
        f"Patient?{query('meta')}",
        patient("meta", meta={"tag": [{"system": "t", "code": "2"}]}),
        **whole,
    )
    again = entry("PUT", f"Patient?{query('meta')}", patient("meta", active=True))
    send("POST", "", bundle("transaction", again), **whole)
    send("GET", f"Patient?{query('meta')}")


def deletes_by_type(client: Client) -> None:
    shapes = [
        "https://x%7Cy",
        "identifier=",
        "_format=json",
        "_pretty=true",
        "_count=1",
        "_lastUpdated=gt2020-01-01",
    ]
    shapes += [
        "identifier:not=x",
        "identifier=%7C",
        "identifier=urn:x%7C",
        "identifier=urn:other%7C",
        "identifier=%7C34X0",
    ]
    shapes += [
        "identifier=34X0",
        "identifier=urn:y%7Czz%2C34X0",
        "identifier=urn:y%7Czz%5C%2C34X0",
        "foo=bar",
        "",
        "_sort=_id",
    ]
    shapes += [
        "identifier:missing=true",
        "identifier=urn:x%7C34X0%2C",
        "identifier:foo=x",
        "_summary=count",
        "_elements=id",
    ]
    for shape in shapes:
        kept = client.send("POST", "Library", library(0))["id"]
        client.ids[kept] = "<kept>"
        client.send("DELETE", f"Library?{shape}")
        client.send("GET", f"Library/{kept}")
        client.send("DELETE", f"Library/{kept}")
    for number in (0, 1):
        client.send("POST", "Library", library(number))
    for shape in (
        "identifier=",
        "identifier=urn:x%7C34X0%2Curn:x%7C34X1",
        "identifier=urn:x%7C34X0&identifier=urn:x%7C34X1",
    ):
        client.send("DELETE", f"Library?{shape}")


def fences(client: Client) -> None:
    one, send = UUID + "1", client.send
    for tag in (None, 'W/"0"', 'W/"1"', "1", '"2"', 'W/"abc"', "*", f'W/"{one}"'):
        for active in (True, False):
            send(
                "PUT",
                f"Patient/{one}",
                patient(id=one, active=active),
                **({"If_Match": tag} if tag else {}),
            )
    send("DELETE", f"Patient/{one}", If_Match='W/"1"')
    for path in ("", "/_history", "/_history?_count=1", "/_history/1", "/_history/99"):
        send("GET", f"Patient/{one}{path}")
    send("PUT", f"Patient/{one}", patient(id=one))
    for identifier, body in (
        ("123456", "123456"),
        (one, "other"),
        (one, None),
        ("a_b", "a_b"),
        ("a" * 65, "a" * 65),
    ):
        send("PUT", f"Patient/{identifier}", patient(**({"id": body} if body else {})))
    send("PUT", f"Patient/{UUID}2", patient(id=f"{UUID}2"), If_Match=f'W/"{one}"')
    for path in ("Patient/nowhere", f"Patient/{one}", f"Patient/{one}"):
        send("DELETE", path)


def references(client: Client) -> None:
    send = client.send
    for reference in (
        "Organization/no",
        "x",
        "Patient/1",
        "https://elsewhere.example/fhir/Organization/1",
        "#o",
    ):
        send("POST", "Patient", refer(reference))
    send("POST", "Patient", patient(managingOrganization={"identifier": {"value": "y"}}))
    send("POST", "Patient", patient(contact=[{"organization": {"reference": "Organization/no"}}]))
    send(
        "POST",
        "Patient",
        patient(
            extension=[{"url": "http://x", "valueReference": {"reference": "Organization/no"}}]
        ),
    )
    target = send("PUT", f"Patient?{query('target')}", patient("target"), keep="target")["id"]
    for value in ("target", "missing"):
        send("POST", "Observation", observe(f"Patient?{query(value)}"))
    send("POST", "Observation", observe(f"Patient/{target}/_history/1"))
    for path in (f"Patient/{target}", f"Patient?{query('target')}"):
        send("DELETE", path)
    for number in (3, 4, 3):
        send(
            "PUT",
            f"Patient/{UUID}{number}",
            linked(None, f"Patient/{UUID}{7 - number}", id=f"{UUID}{number}"),
        )
    send("PUT", f"Patient/{UUID}5", patient(id=f"{UUID}5"))
    send("PUT", f"Patient/{UUID}5", linked(None, f"Patient/{UUID}5", id=f"{UUID}5"))
    send("GET", f"Patient?_id={UUID}5&_revinclude=*")
    send("DELETE", f"Patient/{UUID}5")
    send("POST", "Observation", observe(f"Patient/{UUID}5"))
    send("GET", f"Patient?_id={UUID}3&_revinclude=*")


def bundles(client: Client) -> None:
    def put(value: str, **more: Any) -> dict[str, Any]:
        return entry("PUT", f"Patient?{query(value)}", patient(value, **more))

    def send(kind: str, *entries: Any) -> None:
        client.send("POST", "", bundle(kind, *entries))

    broken = entry("POST", "Patient", refer("Organization/no"))
    send("transaction", put("t1"), put("t2"))
    send("transaction", put("t1"), put("t2", active=True))
    send("transaction", put("t1"), put("t1"))
    send("transaction", put("t3"), broken)
    client.send("GET", f"Patient?{query('t3')}")
    send(
        "batch",
        put("t3"),
        broken,
        entry("GET", "Patient/no"),
        entry("DELETE", f"Patient?{query('no')}"),
    )
    send("transaction", put("t4", id=f"by-body-{UUID}"))
    client.send("GET", f"Patient/by-body-{UUID}")
    send("transaction", put("t4", id="other"))
    names = [f"urn:uuid:{UUID}{number}" for number in (6, 7)]
    both = [
        entry("POST", "Patient", linked(f"u{n}", names[1 - n]), fullUrl=names[n]) for n in (0, 1)
    ]
    send("transaction", *both)
    send("transaction", put("c1"), entry("POST", "Observation", observe(f"Patient?{query('c1')}")))
    send(
        "transaction",
        entry("POST", "Patient", patient("c2")),
        entry("POST", "Patient", linked("c3", f"Patient?{query('c2')}")),
    )
    send(
        "transaction",
        entry("PUT", f"Patient/{UUID}8", linked(None, f"Patient/{UUID}9", id=f"{UUID}8")),
        entry("PUT", f"Patient/{UUID}9", linked(None, f"Patient/{UUID}8", id=f"{UUID}9")),
    )
    client.send("DELETE", f"Patient/{UUID}8")
    send("collection")
    client.send(
        "POST",
        "",
        {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": patient()}]},
    )


def searches(client: Client) -> None:
    for value in ("s1", "s2", "s3"):
        client.send("POST", "Patient", patient(value, gender="male"), keep=value)
    found = [
        query("s1"),
        query("S1"),
        query("no"),
        f"{query('s1')}%2C{quote(SYSTEM + '|s2', safe='')}",
        f"{query('s1')}&{query('s2')}",
    ]
    found += [
        "identifier=s1",
        "identifier=%7Cs1",
        "identifier:foo=x",
        "_id=no",
        "foo=bar",
        "https://x%7Cy",
        "_lastUpdated=gtx",
    ]
    found += [
        f"gender=male&{query('s2')}",
        f"active:missing=true&{query('s3')}",
        f"_lastUpdated=lt2020&{query('s1')}",
    ]
    for text in found:
        client.send("GET", f"Patient?{text}")
    for _ in range(2):  # the second time from the cache, though by then there is one
        client.send("GET", f"Patient?{query('late')}", Cache_Control="max-age=60")
        client.send("PUT", f"Patient?{query('late')}", patient("late"))
    client.send("GET", f"Patient?{query('late')}")


def bad_input(client: Client) -> None:
    for body in (
        '{"resourceType": ',
        "{}",
        '{"resourceType":"Organization"}',
        patient(gender="robot"),
        patient(birthDate="soon"),
    ):
        client.send("POST", "Patient", body)
    client.send("POST", "Patient", patient(active="yes"))
    client.send(
        "POST", "Patient", patient(name="x", birthDate={"a": 1}, telecom=[{"foo": 1}], gender="")
    )
    client.send("PUT", "Patient", patient("a"))
    client.send("PUT", f"Patient?{query('a')}", patient("a"), Content_Type="text/plain")
    for path in (
        "Foo",
        "Patient/no",
        "Patient/no/_history",
        "",
        "Patient/no/$foo",
        "Patient/a%20b",
    ):
        client.send("GET", path)


@pytest.mark.parametrize(
    "part", [conditional, deletes_by_type, fences, references, bundles, searches, bad_input]
)
def test_the_local_server_answers_like_a_real_one(
    hapi: HapiServer, project: Path, part: Callable[[Client], None]
) -> None:
    hapi.empty(*TYPES)
    real = Client(hapi.base_url)
    part(real)
    with local_fhir.serve(project) as base:
        ours = Client(base)
        part(ours)
    differing = [
        f"{name}\n  real {told}\n  ours {other}"
        for (name, told), (_, other) in zip(real.told(), ours.told(), strict=True)
        if told != other
    ]
    assert not differing, "\n".join(differing)
