"""What the sync bot costs other bots of the same server while its target refuses connections."""

from __future__ import annotations

import json

from benchmarks.measure import Row, Size, execute
from benchmarks.projects import BASELINE, generate, installed, scratch

WORKERS = 20
"""Medplum runs the bots of all projects with so many workers (5.1)."""


def run(size: Size) -> list[Row]:
    """One row; nothing is compared."""
    patients = 20 if size == "smallest" else 150
    with scratch() as work:
        project = generate(work)
        (project / "node_modules").symlink_to(installed(project))
        script = BASELINE / "neighbours.mjs"
        line = ("node", script, project, str(patients), str(WORKERS))
        measured = json.loads(execute(*line, cwd=project).output)
    return [
        Row(
            "median delay of an unrelated bot while the target refuses connections, "
            f"{patients} patients at once",
            "",
            f"{measured['median']:.1f} s",
            goal="at most 10 s",
            met=measured["median"] <= 10,
        )
    ]
