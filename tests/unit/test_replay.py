"""The replay of recordings: what it sends, what it lets pass, and what it must not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.replay import cut_like, differences, replay, report

RECORDINGS = sorted((Path(__file__).parents[1] / "servers" / "recordings").glob("*.json"))
ID = "0a1b2c3d-0000-4000-8000-000000000000"

Reply = Callable[[dict[str, Any]], tuple[int, dict[str, str], str]]


class Server:
    """A server that keeps the requests it gets, and answers what `reply` says."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.reply: Reply = lambda request: (200, {}, "{}")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                request = {
                    "method": self.command,
                    "path": self.path,
                    "headers": dict(self.headers),
                    "body": body,
                }
                server.requests.append(request)
                status, headers, content = server.reply(request)
                self.send_response(status)
                for name, value in {
                    **headers,
                    "Content-Length": str(len(content.encode())),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content.encode())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    # It looks for the end of the test every 10 ms, and without a number every half a second.
    Thread(target=server.http.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.http.shutdown()
    server.http.server_close()


def recording(folder: Path, *steps: dict[str, Any]) -> Path:
    file = folder / "recording.json"
    file.write_text(json.dumps({"steps": steps}))
    return file


def step(path: str, body: Any = None, status: int = 200, **more: Any) -> dict[str, Any]:
    """Make a GET step that expects this body; other members of a step are given by name."""
    request = {"method": "GET", "path": path, **more.pop("request", {})}
    response = {
        "status": status,
        "headers": more.pop("headers", {}),
        "body": {} if body is None else body,
    }
    return {"name": path, "request": request, "response": response, **more}


EVENT = {
    "headers": {"X-Medplum-Interaction": "create"},
    "input": {"id": "<uuid>", "author": "someone"},
}


@pytest.mark.parametrize(
    ("want", "got"),
    [
        ({"id": "1"}, {"id": "1", "more": True}),
        ([{"id": "1"}], [{"id": "1"}, {"id": "2"}]),
        ({"id": "<any>"}, {"id": 7}),
        ("Patient/<uuid>", f"Patient/{ID}"),
        ("<hmac>", "ab" * 32),
        ("a (b) <any>", "a (b) and\nmore"),
        ({"secret": None}, {}),
        ({"text": "Not found"}, {"text": "Nothing is there"}),
        ({"lastUpdated": "2026-11-22T17:09:57.623Z"}, {"lastUpdated": "2027-01-01T00:00:00.000Z"}),
        ({"diagnostics": "HAPI-2001: Resource 1"}, {"diagnostics": "HAPI-2001: another text"}),
        (
            {"outcomeDesc": "EVENT " + json.dumps(EVENT)},
            {
                "outcomeDesc": "EVENT "
                + json.dumps({"headers": {"x-medplum-interaction": "create"}, "input": {"id": ID}})
            },
        ),
    ],
)
def test_what_is_as_recorded(want: Any, got: Any) -> None:
    assert differences(want, got) == []


@pytest.mark.parametrize(
    ("want", "got", "miss"),
    [
        ({"id": "1"}, {}, ".id: None for '1'"),
        ({"id": "<any>"}, {}, ".id: missing"),
        ({"id": "1"}, [], ": [] for an object"),
        ([1, 2], [1], ": 1 for 2 items"),
        ([1], {"0": 1}, ": {'0': 1} for 1 items"),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, ".a[0].b: 'y' for 'x'"),
        (True, 1, ": 1 for True"),
        ("10", 10, ": 10 for '10'"),
        ("<uuid>", "1000", ": '1000' for '<uuid>'"),
        ("a.c", "abc", ": 'abc' for 'a.c'"),
        ({"secret": None}, {"secret": "s"}, ".secret: 's' for None"),
        ({"text": "Not found"}, {"text": ""}, ".text: '' for 'Not found'"),
        (
            {"at": "2026-11-22T17:09:57Z"},
            {"at": "today"},
            ".at: 'today' for '2026-11-22T17:09:57Z'",
        ),
        (
            {"diagnostics": "HAPI-0989: x"},
            {"diagnostics": "HAPI-0550: x"},
            ".diagnostics: no HAPI-0989 in 'HAPI-0550: x'",
        ),
        (
            {"outcomeDesc": "EVENT " + json.dumps(EVENT)},
            {"outcomeDesc": "EVENT " + json.dumps({"headers": {}, "input": {"id": ID}})},
            ".outcomeDesc.EVENT.headers.x-medplum-interaction: None for 'create'",
        ),
        (
            {"outcomeDesc": "EVENT {}"},
            {"outcomeDesc": "Error: x"},
            ".outcomeDesc: 'Error: x' is not an EVENT line",
        ),
    ],
)
def test_what_is_not_as_recorded(want: Any, got: Any, miss: str) -> None:
    assert differences(want, got) == [miss]


@pytest.mark.parametrize(
    ("want", "got", "cut"),
    [
        ({"n": 2}, {"entry": [{}, {}]}, {"n": 2}),
        ({"n": 0}, {"resourceType": "Bundle"}, {"n": 0}),
        (
            {"n": 0, "link": ["self"]},
            {"link": [{"relation": "self"}, {"relation": "next"}]},
            {"link": ["self", "next"]},
        ),
        (
            {"software": "HAPI"},
            {"software": {"name": "HAPI", "version": "8"}},
            {"software": "HAPI"},
        ),
        (
            {"entry": [{"status": "201"}]},
            {"entry": [{"response": {"status": "400"}}]},
            {"entry": [{"status": "400"}]},
        ),
        (
            {"entry": [{"title": "a.cjs"}]},
            {"entry": [{"resource": {"executableCode": {"title": "b.cjs"}}}, {"resource": {}}]},
            {"entry": [{"title": "b.cjs"}, {"title": None}]},
        ),
    ],
)
def test_an_answer_is_cut_as_its_recording_was(want: Any, got: Any, cut: Any) -> None:
    assert cut_like(want, got).items() >= cut.items()


def test_an_answer_whose_recording_is_whole_stays_whole() -> None:
    bundle = {"entry": [{"response": {"status": "201"}}], "link": [{"relation": "self"}]}
    assert cut_like({"entry": [{"response": {"status": "201"}}]}, bundle) == bundle


def test_values_saved_by_a_step_are_sent_and_expected_by_later_ones(
    server: Server, tmp_path: Path
) -> None:
    history = [
        {"resource": {"executableCode": {"title": title}, "meta": {"versionId": version}}}
        for title, version in (("b", "3"), ("a", "2"), ("a", "1"))
    ]
    server.reply = lambda request: (
        200,
        {},
        json.dumps({"id": "7", "entry": history, "sys": request["path"]}),
    )
    saves = {
        "id1": "id",
        "old": "the versionId of the newest entry whose code is a",
        "first": "entry.2.resource.meta.versionId",
    }
    results = replay(
        recording(
            tmp_path,
            step("Patient", {"id": "${id1}"}, save=saves),
            step(
                "Patient/${id1}/_history/${old}?first=${first}",
                {"sys": "/fhir/Patient/7/_history/2?first=1"},
            ),
            step("Patient", {}, save={"nothing": "entry.9.id"}),
        ),
        f"{server.base}/fhir/",
    )
    assert [result.misses for result in results] == [(), (), ("no entry.9.id to keep as nothing",)]


def test_a_step_that_needs_what_was_never_saved_is_not_sent(server: Server, tmp_path: Path) -> None:
    [result] = replay(recording(tmp_path, step("Bot/${bot}/$deploy")), server.base)
    assert result.misses == ("not sent: bot unknown",)
    assert server.requests == []


def test_requests_are_sent_as_recorded(server: Server, tmp_path: Path) -> None:
    patch = {
        "method": "PATCH",
        "headers": {"Content-Type": "application/json-patch+json"},
        "body": [{"op": "test"}],
    }
    form = {
        "method": "POST",
        "form": True,
        "body": {"grant_type": "client_credentials", "client_id": "${client}"},
    }
    replay(
        recording(
            tmp_path,
            step("a", request={"auth": False}),
            step("b", request=patch),
            step("c", request=form),
            step("d", request={"method": "PUT", "body": '{"resourceType": '}),
            step("e", request={"method": "POST", "body": {"code": "<1,100,002 characters>"}}),
        ),
        server.base,
        {"token": "secret", "client": "me"},
    )
    a, b, c, d, e = server.requests
    assert "Authorization" not in a["headers"]
    assert (b["method"], b["headers"]["Authorization"]) == ("PATCH", "Bearer secret")
    assert (b["headers"]["Content-Type"], b["body"]) == (
        "application/json-patch+json",
        '[{"op": "test"}]',
    )
    assert c["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    assert c["body"] == "grant_type=client_credentials&client_id=me"
    assert (d["headers"]["Content-Type"], d["body"]) == (
        "application/fhir+json",
        '{"resourceType": ',
    )
    assert len(json.loads(e["body"])["code"]) == 1_100_002


def test_status_and_headers_are_compared(server: Server, tmp_path: Path) -> None:
    server.reply = lambda request: (
        200,
        {"ETag": 'W/"2"', "Content-Type": "text/html; charset=utf-8"},
        "<html>",
    )
    wanted = {
        "etag": 'W/"1"',
        "content-type": "application/fhir+json;charset=UTF-8",
        "location": "${base}Patient/1",
    }
    [result] = replay(recording(tmp_path, step("Patient/1", "", 201, headers=wanted)), server.base)
    assert result.misses == (
        "status 200 for 201",
        "etag: 'W/\"2\"' for 'W/\"1\"'",
        "content-type: 'text/html' for 'application/fhir+json'",
        f"location: None for '{server.base}/Patient/1'",
        "body: '<html>' for ''",
    )


def test_what_happens_in_the_background_is_waited_for(server: Server, tmp_path: Path) -> None:
    server.reply = lambda request: (200, {}, json.dumps({"entry": [{}] * len(server.requests)}))
    results = replay(
        recording(tmp_path, step("AuditEvent", {"n": 3}, waits_up_to_s=30)), server.base
    )
    assert not report(results)
    assert len(server.requests) == 3


def test_the_report_names_each_step_that_missed(server: Server, tmp_path: Path) -> None:
    server.reply = lambda request: (200, {}, '{"id": "1"}')
    results = replay(
        recording(tmp_path, step("good", {"id": "1"}), step("bad", {"id": "2"})), server.base
    )
    assert report(results) == "1 of 2 steps are not as recorded:\n  bad: body.id: '1' for '2'"


def test_a_server_that_is_not_there_misses_every_step(server: Server, tmp_path: Path) -> None:
    server.http.server_close()
    [result] = replay(recording(tmp_path, step("metadata")), "http://127.0.0.1:1")
    assert result.misses[0].startswith("no answer: ConnectionRefusedError")


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.stem)
@pytest.mark.parametrize("status", [200, 404])
def test_no_recorded_step_passes_on_an_empty_answer(
    file: Path, status: int, server: Server, tmp_path: Path
) -> None:
    steps = [{**step, "waits_up_to_s": 0} for step in json.loads(file.read_text())["steps"]]
    server.reply = lambda request: (status, {}, "{}")
    given = dict.fromkeys(["project", "client", "client_secret", "basic", "token"], "x")
    results = replay(recording(tmp_path, *steps), server.base, given)
    assert [result.name for result in results if not result.misses] == []
    assert len(results) == len(steps) > 50
