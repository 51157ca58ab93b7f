"""A real HAPI FHIR JPA server on loopback, built once with Maven, with its data in memory.

    with hapi_server.start() as hapi:
        ...  # hapi.base_url is http://127.0.0.1:<port>/fhir

From a shell: `python -m tests.support.hapi_server [port]`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "tests" / "servers" / "hapi"
BUILDS = ROOT / "build" / "hapi-server"
START_LIMIT_S = 300  # about 15 are usual
# The fast compiler and the simple garbage collector, because a test server spends most of its time
# starting, and so does Maven.
FAST_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
# Enough for 10,000 patients (about 20 KB each, and 200 MB for the server).
JVM_FLAGS = ("-Xmx1g", *FAST_START)


class HapiServerError(Exception):
    """The server could not be built or started; the text is one line for people."""


@dataclass
class HapiServer:
    """A running server. It stops at the end of a `with` block, and when its parent process ends."""

    base_url: str  # without a slash at its end
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """End the server at once; its data is gone. Stopping it again does nothing."""
        if self.process.stdin and self.process.stdout:
            self.process.stdin.close()  # what the server ends on
            self.process.stdout.close()
        self.process.wait(timeout=30)

    def empty(self, *types: str) -> None:
        """Delete all resources of these types in one transaction: they may refer to each other.

        Tombstones stay. Raises HapiServerError if a resource of another type refers to one of them.
        """
        entries = [
            {"request": {"method": "DELETE", "url": f"{type_}/{entry['resource']['id']}"}}
            for type_ in types
            for entry in self._request("GET", f"/{type_}?_elements=id&_count=100000")[1].get(
                "entry", []
            )
        ]
        transaction = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        status, answer = self._request("POST", "", transaction) if entries else (http.client.OK, {})
        if status != http.client.OK:
            raise HapiServerError(
                f"HAPI did not delete all {', '.join(types)}: {answer['issue'][0]['diagnostics']}"
            )

    def _request(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        url = urlsplit(self.base_url)
        headers = {"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"}
        with closing(http.client.HTTPConnection(url.netloc, timeout=60)) as connection:
            connection.request(
                method, url.path + path, None if body is None else json.dumps(body), headers
            )
            response = connection.getresponse()
            return response.status, json.load(response)

    def __enter__(self) -> HapiServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


@contextmanager
def started_or(server: HapiServer | None) -> Iterator[HapiServer]:
    """Give a server that runs already, or start one for the `with` block."""
    if server:
        yield server
    else:
        with start() as started:
            yield started


def missing() -> str | None:
    """Say what this machine lacks to build and run the server; None if it lacks nothing."""
    tools = ["java"] if _build_folder().exists() else ["java", "mvn"]
    lacking = [tool for tool in tools if not shutil.which(tool)]
    return (
        f"a real HAPI server needs Java 17 and Maven: no {' and no '.join(lacking)} on PATH"
        if lacking
        else None
    )


def build() -> Path:
    """Compile the server, download its libraries (about 280 MB) and return their folder.

    The folder's name is the hash of the sources, so each version is built once on a machine.
    """
    folder = _build_folder()
    if folder.exists():
        return folder
    print(
        f"Building the HAPI server into {folder.relative_to(ROOT)}, once …",
        file=sys.stderr,
        flush=True,
    )
    BUILDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILDS, prefix="unfinished-") as name:
        work = Path(name) / "project"
        shutil.copytree(PROJECT, work)
        command = [
            "mvn",
            "--batch-mode",
            "--quiet",
            "package",
            "dependency:copy-dependencies",
            "-DoutputDirectory=lib",
        ]
        options = " ".join([*FAST_START, os.environ.get("MAVEN_OPTS", "")])
        environment = {**os.environ, "MAVEN_OPTS": options}
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = [line for line in done.stdout.splitlines() if "ERROR" in line] or [done.stderr]
            raise HapiServerError(f"Maven could not build the HAPI server: {said[0].strip()}")
        shutil.copy(work / "target" / "hapi-server-1.jar", work / "lib")
        if not folder.exists():  # another process may have been quicker
            (work / "lib").rename(folder)
    return folder


def start(port: int = 0) -> HapiServer:
    """Build the server if need be, start it on 127.0.0.1, and return when it answers (about 15 s).

    `port` 0 takes a free one. Raises HapiServerError if it does not build, or not start.
    """
    if lacking := missing():
        raise HapiServerError(lacking)
    jars = sorted(build().glob("*.jar"))
    command = ["java", *JVM_FLAGS, "-cp", os.pathsep.join(map(str, jars)), "HapiServer", str(port)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        guard = Timer(START_LIMIT_S, process.kill)
        guard.start()
        try:
            ready = next((line for line in process.stdout if line.startswith("READY ")), None)
        except BaseException:
            process.kill()
            raise
        finally:
            guard.cancel()
        if ready is None:
            process.wait()
            errors.seek(0)
            causes = [
                line.strip()
                for line in errors
                if line.startswith(("Caused by:", "Exception", "Error", "java."))
            ]
            raise HapiServerError(
                f"the HAPI server did not start: {causes[-1] if causes else 'no reason given'}"
            )
    return HapiServer(ready.split()[1], process)


def _build_folder() -> Path:
    sources = sorted(file for file in PROJECT.rglob("*") if file.suffix in (".xml", ".java"))
    return (
        BUILDS / hashlib.sha256(b"\0".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    )


def main() -> None:
    """Run a server for people until Ctrl-C; the only argument is its port."""
    try:
        print("Starting HAPI FHIR …", file=sys.stderr, flush=True)
        with start(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as hapi:
            print(f"{hapi.base_url} (Ctrl-C ends it)", flush=True)
            hapi.process.wait()
    except (HapiServerError, ValueError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
