"""Sequences with the recorded answers of a real HAPI server, to compare without it.

The file has an entry for each difference between the local server and a real one that was found and
fixed. To record the answers of another version of HAPI, run
`python -m tests.servers.differential.recording REAL` with a fresh server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.differential.compare import Difference, compare
from tests.servers.differential.server import Answer, Server
from tests.servers.differential.steps import Step, step_from_json, step_to_json

RECORDING = Path(__file__).parent / "hapi-sequences.json"
LONGEST_TEXT = 100  # of an OperationOutcome: only the number in it is compared
IDS = {
    "u1": "6f1b1c3e-0000-4000-8000-0000000000a1",
    "u2": "6f1b1c3e-0000-4000-8000-0000000000a2",
    "salt": "zq1a2b3c",
}


@dataclass(frozen=True)
class RecordedSequence:
    """Requests, and what a real server answered to each; None: it could not be sent."""

    about: str
    steps: list[Step]
    answers: list[Answer | None]


def load() -> list[RecordedSequence]:
    return [
        RecordedSequence(
            sequence["about"],
            [step_from_json(step["request"]) for step in sequence["steps"]],
            [step["answer"] and Answer(**step["answer"]) for step in sequence["steps"]],
        )
        for sequence in json.loads(RECORDING.read_text(encoding="utf-8"))["sequences"]
    ]


def own_ids(number: int) -> dict[str, str]:
    """Ids for the sequence with this number: tombstones of other sequences must not matter."""
    return {name: f"{value[:-4]}{number:04d}" for name, value in IDS.items()}


def replay(
    server: Server, number: int, sequence: RecordedSequence
) -> Iterator[tuple[Step, list[Difference]]]:
    """Send a recorded sequence to a server; yield each step with its differences."""
    server.begin(own_ids(number))
    for index, (step, recorded) in enumerate(zip(sequence.steps, sequence.answers, strict=True)):
        answer = server.send(step, index)
        if recorded is None or answer is None:
            continue
        yield step, compare(step, answer, recorded)
    server.clean_up()


def record(server: Server) -> None:
    """Send all sequences of the file to a real server, and write its answers to the file."""
    lines = []
    for number, sequence in enumerate(load()):
        server.begin(own_ids(number))
        steps = []
        for index, step in enumerate(sequence.steps):
            answer = server.send(step, index)
            steps.append(
                {"request": step_to_json(step), "answer": answer and _answer_to_json(answer)}
            )
        server.clean_up()
        lines.append(_sequence_text(sequence.about, steps))
    text = ",\n".join(lines)
    text = f'{{"server": "HAPI FHIR JPA 8.8.0", "sequences": [\n{text}\n]}}\n'
    RECORDING.write_text(text, encoding="utf-8", newline="\n")


def _answer_to_json(answer: Answer) -> dict[str, Any]:
    body = answer.body
    if isinstance(body, dict) and body.get("resourceType") == "OperationOutcome":
        for issue in body.get("issue", []):
            issue["diagnostics"] = (issue.get("diagnostics") or "")[:LONGEST_TEXT]
    return {"status": answer.status, "headers": answer.headers, "body": body}


def _sequence_text(about: str, steps: list[dict[str, Any]]) -> str:
    """Write a line for each step: differences between two recordings are easy to see then."""
    lines = ",\n".join(f"  {json.dumps(step, ensure_ascii=True)}" for step in steps)
    return f' {{"about": {json.dumps(about)}, "steps": [\n{lines}\n ]}}'


if __name__ == "__main__":
    record(Server(sys.argv[1].rstrip("/")))
