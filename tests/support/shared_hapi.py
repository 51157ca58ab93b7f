"""One real HAPI server for all tests that ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support import hapi_server
from tests.support.hapi_server import HapiServer


@pytest.fixture(scope="session")
def hapi(pytestconfig: pytest.Config) -> Iterator[HapiServer]:
    """A running HAPI FHIR JPA server, with the data of earlier tests: see `HapiServer.empty`."""
    lacking = hapi_server.missing()
    if lacking and not os.environ.get("CI"):
        pytest.skip(lacking)
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():  # a first build takes a while, and says so
        server = hapi_server.start()
    with server:
        yield server
