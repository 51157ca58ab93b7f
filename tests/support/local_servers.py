"""The local Medplum and FHIR servers of a generated repository, as people start them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of a server on loopback that lives as long as a test.
CLIENT_SECRET = "local-only-not-a-secret"  # noqa: S105


def wait_for_addresses(server: subprocess.Popen[str], with_fhir_server: bool) -> dict[str, str]:
    """Read what `npm run local` prints until every server has said where it is."""
    assert server.stdout is not None
    shown = ""
    for line in server.stdout:
        shown += line
        found = re.findall(r"http://(?:localhost|127\.0\.0\.1):\d+(?:/fhir)?", shown)
        medplum = [address for address in found if not address.endswith("/fhir")]
        if medplum and len(found) >= len(medplum) + with_fhir_server:
            return {"MEDPLUM_BASE_URL": f"{medplum[0]}/"}
    raise AssertionError(f"npm run local ended: {shown}")


@contextmanager
def servers(project: Path, command: str = "npm run local") -> Iterator[dict[str, str]]:
    """Start local servers on free ports; give the variables with which commands find them."""
    with_fhir_server = (project / "tools" / "src" / "fhir-server").exists()
    ports = "--port 0 --fhir-port 0" if with_fhir_server else "--port 0"
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command} -- {ports}"],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Without it, each start has another secret, which the commands find by themselves.
        env={**os.environ, "MEDPLUM_CLIENT_SECRET": CLIENT_SECRET},
    )
    try:
        yield wait_for_addresses(process, with_fhir_server)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
