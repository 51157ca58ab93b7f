"""The local servers: how soon they answer, how much, and whether 10,000 patients slow them down."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from benchmarks.measure import ROUNDS, Row, Size, execute, seconds, wait_until
from benchmarks.projects import BASELINE, generated, scratch
from benchmarks.servers import CLIENT_SECRET, Servers, resident_megabytes

START_LIMIT_S = 1.5
RATE = 1000
SYSTEM = "https://example.com/mrn"
NONE = "none: bots wait beside it for their events."


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def answers(url: str) -> bool:
    try:
        with urlopen(url) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False


@contextmanager
def local(project: Path, script: str = "local") -> Iterator[tuple[str, str, float]]:
    """`npm run local`: addresses of both servers, and the seconds until both answered."""
    port, fhir_port = free_ports()
    line = ["npm", "run", script, "--", "--port", str(port), "--fhir-port", str(fhir_port)]
    process = subprocess.Popen(
        line,
        cwd=project,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "MEDPLUM_CLIENT_SECRET": CLIENT_SECRET},
    )
    medplum, fhir = f"http://localhost:{port}/", f"http://localhost:{fhir_port}/fhir"
    try:
        until = wait_until(
            lambda: answers(f"{medplum}healthcheck") and answers(f"{fhir}/metadata"),
            f"npm run {script}",
        )
        yield medplum, fhir, until
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def patients(count: int) -> list[dict[str, object]]:
    return [
        {
            "resourceType": "Patient",
            "identifier": [{"system": SYSTEM, "value": f"MRN-{number}"}],
            "name": [{"family": f"Family{number % 500}", "given": ["Robin"]}],
            "birthDate": "1970-01-01",
        }
        for number in range(count)
    ]


def load(action: str, *arguments: str | Path, env: dict[str, str]) -> float:
    """Run load.mjs; return the number that it prints."""
    return float(
        json.loads(
            execute("node", BASELINE / "load.mjs", action, *arguments, cwd=BASELINE, env=env).output
        )
    )


def under_load(project: Path, count: int, seconds_: float) -> dict[str, dict[str, float]]:
    """Measure both servers with this many patients.

    Returned are reads per second, and the milliseconds of a search by identifier.
    """
    with scratch() as work, Servers(project) as servers:
        file, queries = work / "patients.ndjson", work / "queries.txt"
        file.write_text("\n".join(map(json.dumps, patients(count))), encoding="utf-8")
        system = quote(SYSTEM, safe="")
        asked = [
            f"Patient?identifier={system}%7CMRN-{number * 37 % count}" for number in range(300)
        ]
        queries.write_text("\n".join(asked), encoding="utf-8")
        found: dict[str, dict[str, float]] = {}
        for name, base in (
            ("Medplum", f"{servers.medplum}fhir/R4"),
            ("FHIR", servers.uncounted_fhir),
        ):
            load("write", base, file, env=servers.env)
            (entry,) = servers.ask_url(f"{base}/{asked[0]}")["entry"]
            found[name] = {
                "search": load("search", base, queries, env=servers.env),
                "reads": load(
                    "read",
                    base,
                    f"Patient/{entry['resource']['id']}",
                    str(seconds_),
                    env=servers.env,
                ),
            }
        found["both"] = {"megabytes": resident_megabytes(servers.process.pid)}
        return found


def run(size: Size) -> list[Row]:
    rounds, counts, seconds_ = (
        (1, (10, 100), 0.2) if size == "smallest" else (ROUNDS, (1000, 10_000), 5)
    )
    with scratch() as work:
        project = generated(work, bots=2)
        starts = []
        for _ in range(rounds):
            with local(project) as (_, _, until):
                starts.append(until)
        few, many = (under_load(project, count, seconds_) for count in counts)
    start = statistics.median(starts)
    rows = [
        Row(
            "npm run local: both servers answer",
            "",
            seconds(starts),
            goal="within 1.5 s",
            met=start <= START_LIMIT_S,
            growth="none: it starts empty; `npm run dev` then deploys what there is.",
        )
    ]
    for name in ("Medplum", "FHIR"):
        rate, ratio = many[name]["reads"], many[name]["search"] / few[name]["search"]
        what, against = f"{name}: search by identifier among {counts[1]:,}", f"among {counts[0]:,}"
        texts = f"{many[name]['search']:.2f} ms", f"{few[name]['search']:.2f} ms"
        rows += [
            Row(
                f"{name}: reads a second",
                "",
                f"{rate:,.0f}",
                goal=f"at least {RATE:,}",
                met=rate >= RATE,
                growth=NONE,
            ),
            Row(
                what,
                against,
                *texts,
                ratio,
                "within 2x",
                ratio <= 2,
                NONE,
                "one patient found by each search",
            ),
        ]
    memory = [side["both"]["megabytes"] for side in (many, few)]
    what = f"memory of both servers with {counts[1]:,} patients each"
    growth = (
        "with the patients; most is Node and the definitions of FHIR. Bots cost what their bundles "
        "weigh."
    )
    texts = f"{memory[0]:.0f} MB", f"{memory[1]:.0f} MB"
    return [*rows, Row(what, f"with {counts[0]:,}", *texts, memory[0] / memory[1], growth=growth)]
