"""Every step of the recordings of a real Medplum server, replayed against the local one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.replay import replay, report

RECORDINGS = Path(__file__).parents[1] / "servers" / "recordings"
TOOLING = Path(__file__).parents[1] / "tools"
CLIENT = {
    "project": "a0a0a0a0-0000-4000-8000-000000000001",
    "client": "a0a0a0a0-0000-4000-8000-000000000002",
    "client_secret": "local-only-not-a-secret",
}


@pytest.fixture
def serve(project: Path) -> Iterator[Callable[[], str]]:
    """Start a server without bots, subscriptions or secrets; return its address."""
    processes = []

    def start() -> str:
        process = subprocess.Popen(
            ["node", "tooling-tests/medplum/recorded-server.ts"],
            cwd=project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    shutil.copytree(TOOLING, project / "tooling-tests", dirs_exist_ok=True)
    yield start
    for process in processes:
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("name", "steps"), [("medplum.json", 66), ("medplum-more.json", 77), ("medplum-bots.json", 230)]
)
def test_the_local_server_answers_as_recorded(
    serve: Callable[[], str], name: str, steps: int
) -> None:
    results = replay(RECORDINGS / name, serve(), CLIENT)
    assert not report(results), report(results)
    assert len(results) == steps
