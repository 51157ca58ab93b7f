"""Counts the requests that a change of a patient causes on both servers, and the bot's size."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.measure import Row, Size, execute, same_or_fail
from benchmarks.projects import BASELINE, generated, scratch, starter
from benchmarks.servers import Servers

PATIENT = {
    "resourceType": "Patient",
    "name": [{"family": "Example", "given": ["Robin"]}],
    "birthDate": "1970-01-01",
}
GUIDE = "the guide's bot"


def patients_there(servers: Servers) -> list[Any]:
    """Return the elements of the external server's patients that both bots write alike."""
    with urlopen(f"{servers.fhir}/Patient?_count=10") as answer:  # noqa: S310
        found = json.load(answer).get("entry", [])
    return [[entry["resource"][name] for name in ("name", "birthDate")] for entry in found]


def life_of_a_patient(project: Path, bundle: Path) -> tuple[list[dict[str, list[str]]], list[Any]]:
    """Create, update and delete a patient; return the bot's requests and the state after each."""
    with Servers(project) as servers:
        requests, states = [], []

        def run_bot(event: dict[str, Any], kind: str, **headers: str) -> None:
            given = json.dumps(
                {"input": event, "headers": {"X-Medplum-Interaction": kind, **headers}}
            )
            before = servers.requests()
            execute(
                "node",
                BASELINE / "run-bot.mjs",
                project,
                bundle,
                servers.fhir,
                given,
                cwd=project,
                env=servers.env,
            )
            after = servers.requests()
            sent = {side: after[side][len(before[side]) :] for side in after}
            sent["medplum"] = [text for text in sent["medplum"] if "/fhir/R4/" in text]
            requests.append(sent)
            states.append(patients_there(servers))

        patient = servers.ask("fhir/R4/Patient", PATIENT)
        url = f"Patient/{patient['id']}"
        run_bot(patient, "create")
        patient = servers.ask(f"fhir/R4/{url}", {**patient, "birthDate": "1971-01-01"}, "PUT")
        run_bot(patient, "update")
        servers.ask(f"fhir/R4/{url}", method="DELETE")
        run_bot({"deletedResource": patient}, "delete", **{"X-Medplum-Deleted-Resource": url})
        return requests, states


def counted(sent: dict[str, list[str]]) -> tuple[str, int, int]:
    """`2 (GET, PUT) + 2 (GET, GET)`, and the two numbers."""
    there, here = (
        [re.sub(r" .*", "", text) for text in sent[side]] for side in ("fhir", "medplum")
    )
    parts = [f"{len(verbs)} ({', '.join(verbs)})" if verbs else "0" for verbs in (there, here)]
    return " + ".join(parts), len(there), len(here)


def run(size: Size) -> list[Row]:
    with scratch() as work:
        project = generated(work, bots=2)
        guide = starter(work, project)
        shutil.rmtree(guide / "src")
        (guide / "src" / "bots").mkdir(parents=True)
        shutil.copy(BASELINE / "guide-bot.ts", guide / "src" / "bots")
        execute("node", "build.mjs", cwd=guide)
        execute("node", "esbuild-script.mjs", "--production", cwd=project)
        small = project / "dist" / "bots" / "hapi-sync-bot.js"
        ours, states = life_of_a_patient(project, small)
        theirs, guide_states = life_of_a_patient(project, guide / "dist" / "bots" / "guide-bot.js")
        same = same_or_fail(
            "name and birth date there after each change, nothing in the end", states, guide_states
        )
        minified = small.stat().st_size
        shutil.copytree(project / "src", guide / "src", dirs_exist_ok=True)
        execute("node", "build.mjs", cwd=guide)
        plain = (guide / "dist" / "bots" / "hapi-sync-bot.js").stat().st_size
    rows = []
    for kind, our_requests, their_requests in zip(
        ("create", "update", "delete"), ours, theirs, strict=True
    ):
        text, there, here = counted(our_requests)
        their_text, their_there, their_here = counted(their_requests)
        ratio = (there + here) / (their_there + their_here)
        what = f"{kind} of a patient: requests to HAPI + to Medplum"
        met, growth = there <= 2 and here <= 2, "none: one bot runs on it, however many there are."
        rows.append(Row(what, GUIDE, text, their_text, ratio, "2 + 2", met, growth, same))
    bundle = f"{minified:,} bytes", f"{plain:,} bytes"
    against = "the same code, built by the guide's script"
    growth = "none: a bundle holds what its bot uses."
    rows.append(
        Row("bundle of hapi-sync-bot, minified", against, *bundle, minified / plain, growth=growth)
    )
    return rows
