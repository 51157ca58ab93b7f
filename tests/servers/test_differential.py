"""Random sequences of requests, sent to the local FHIR server and to a real HAPI server."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from tests.servers.differential.server import TYPES, Server
from tests.servers.differential.tester import run
from tests.support import local_fhir
from tests.support.hapi_server import HapiServer

SEQUENCES = 300
LEAST_EQUAL = 0.995  # docs/local-fhir-server.md of a generated repository lists what differs


def test_random_sequences_are_answered_as_by_a_real_server(
    hapi: HapiServer, project: Path, record_property: Callable[[str, object], None]
) -> None:
    """Run with DIFFERENTIAL_SEED=… to repeat a run."""
    seed = os.environ.get("DIFFERENTIAL_SEED") or secrets.token_hex(4)
    record_property("seed", f"differential: {SEQUENCES} sequences, seed {seed}")
    hapi.empty(*TYPES)
    with local_fhir.serve(project) as base_url:
        report = run(Server(base_url), Server(hapi.base_url), SEQUENCES, seed)
    print(report.summary())
    assert report.requests > SEQUENCES, report.summary()
    assert report.share >= LEAST_EQUAL, report.describe()
