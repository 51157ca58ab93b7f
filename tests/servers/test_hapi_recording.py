"""The recording of a HAPI server, replayed against a real one: it is still right."""

from __future__ import annotations

from pathlib import Path

from tests.support.hapi_server import HapiServer
from tests.support.replay import replay, report

RECORDING = Path(__file__).parent / "recordings" / "hapi.json"


def test_a_real_hapi_answers_as_recorded(hapi: HapiServer) -> None:
    hapi.empty("Basic")  # the recording deletes a Basic by type alone: there must be none
    results = replay(RECORDING, hapi.base_url)
    assert not report(results), report(results)
    assert len(results) == 54
