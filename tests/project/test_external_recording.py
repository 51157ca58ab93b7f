"""The recording of a real HAPI server, replayed against the local external FHIR server: every step, none left out."""

from __future__ import annotations

from pathlib import Path

from tests.support import local_fhir
from tests.support.replay import replay, report

RECORDING = Path(__file__).parents[1] / "servers" / "recordings" / "hapi.json"


def test_the_external_fhir_server_answers_as_recorded(project: Path) -> None:
    with local_fhir.serve(project) as base:
        results = replay(RECORDING, base)
    assert not report(results), report(results)
    assert len(results) == 54
