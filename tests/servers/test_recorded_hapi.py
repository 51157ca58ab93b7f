"""Every step of recordings of a real HAPI server, replayed against the local one. Needs no Java."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.differential import recording
from tests.servers.differential.server import Server
from tests.support import local_fhir
from tests.support.replay import replay, report

RECORDING = Path(__file__).parent / "recordings" / "hapi.json"
LEAST_STEPS = 750  # can be sent; others need an id that an error did not give


@pytest.fixture
def base_url(project: Path) -> Iterator[str]:
    """A fresh server for each test: its tags depend on those that it knows already."""
    with local_fhir.serve(project) as base_url:
        yield base_url


def test_the_local_server_answers_as_recorded(base_url: str) -> None:
    results = replay(RECORDING, base_url)
    assert not report(results), report(results)
    assert len(results) == 54


def test_differences_that_were_removed_stay_removed(base_url: str) -> None:
    """Each sequence once showed a difference between the servers, or has a value at its limit."""
    server = Server(base_url)
    sent, lines = 0, []
    for number, sequence in enumerate(recording.load()):
        for step, differences in recording.replay(server, number, sequence):
            sent += 1
            lines += [
                f"{sequence.about}\n  {step.method} {step.path}: {difference.aspect}\n"
                f"  local {difference.local}\n  real  {difference.real}"
                for difference in differences
            ]
    assert not lines, "\n".join(lines)
    assert sent >= LEAST_STEPS
