"""The local servers of a generated repository as processes, and requests to them."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from benchmarks.measure import CommandError
from benchmarks.projects import BASELINE

CLIENT_SECRET = "local-only-not-a-secret"  # noqa: S105 -- of a server on loopback


def credentials() -> dict[str, str]:
    """Return the client of the local project; servers get its secret as a variable."""
    return {
        "MEDPLUM_PROJECT_ID": "a0a0a0a0-0000-4000-8000-000000000001",
        "MEDPLUM_CLIENT_ID": "a0a0a0a0-0000-4000-8000-000000000002",
        "MEDPLUM_CLIENT_SECRET": CLIENT_SECRET,
    }


def resident_megabytes(pid: int) -> float:
    """What a process occupies now (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmRSS:\s*(\d+)", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1e3


class Medplum:
    """A running Medplum server, asked as the local project's admin."""

    def __init__(self, project: Path, address: str) -> None:
        self.medplum = address
        self.env = {**credentials(), "MEDPLUM_BASE_URL": address}

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Send a request; return the answer's JSON."""
        return self.ask_url(self.medplum + path, body, method)

    def ask_url(self, url: str, body: object = None, method: str | None = None) -> Any:
        """The same with the whole address, of either server."""
        given = f"{self.env['MEDPLUM_CLIENT_ID']}:{self.env['MEDPLUM_CLIENT_SECRET']}"
        headers = {
            "Authorization": f"Basic {base64.b64encode(given.encode()).decode()}",
            "Content-Type": "application/fhir+json",
        }
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(url, data, headers, method=method)) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            raise CommandError(f"{url}: {error.status} {error.read().decode()[:500]}") from error

    def bots(self) -> list[dict[str, Any]]:
        """All bots, page by page."""
        found: list[dict[str, Any]] = []
        url = "fhir/R4/Bot?_count=1000"
        while url:
            page = self.ask(url)
            found += [entry["resource"] for entry in page.get("entry", [])]
            following = [link["url"] for link in page.get("link", []) if link["relation"] == "next"]
            url = following[0].removeprefix(self.medplum) if following else ""
        return found

    def deployed(self) -> dict[str, str]:
        """The code that each bot runs, by the bot's name."""
        code = {}
        for bot in self.bots():
            with urlopen(bot["executableCode"]["url"]) as answer:  # noqa: S310
                code[bot["name"]] = answer.read().decode()
        return code


class Servers(Medplum):
    """Both servers, empty at the start; they end with the `with` block or with `stop`."""

    def __init__(self, project: Path, delay_ms: int = 0) -> None:
        self.process = subprocess.Popen(
            ["node", str(BASELINE / "servers.mjs"), str(project), str(delay_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise CommandError("the local servers did not start")
        addresses = json.loads(line)
        super().__init__(project, addresses["medplum"])
        self.fhir: str = addresses["fhir"]
        """Of the external server; every request to it is written down."""
        self.uncounted_fhir: str = addresses["uncounted"]

    def stop(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=10)

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def requests(self) -> dict[str, list[str]]:
        """What both servers were asked so far, as `GET /fhir/R4/Bot`: by `medplum` and `fhir`."""
        written: dict[str, list[str]] = self.ask("_requests")
        return written
