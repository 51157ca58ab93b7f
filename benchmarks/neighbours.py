"""What the sync costs its neighbours.

Other bots while the target is down, and Medplum while the quota is spent.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measure import Row, Size, execute
from benchmarks.projects import BASELINE, generate, scratch
from tests.support.packages import installed

WORKERS = 20
"""Medplum runs the bots of all projects with so many workers (5.1)."""


def run(size: Size) -> list[Row]:
    """Two rows; nothing is compared."""
    patients = 20 if size == "smallest" else 150
    with scratch() as work:
        project = generate(work)
        (project / "node_modules").symlink_to(installed(project))
        script = BASELINE / "neighbours.mjs"
        line = ("node", script, project, str(patients), str(WORKERS))
        measured = json.loads(execute(*line, cwd=project).output)
        quota = () if size == "smallest" else (_quota_row(project),)
    return [
        Row(
            "median delay of an unrelated bot while the target refuses connections, "
            f"{patients} patients at once",
            "",
            f"{measured['median']:.1f} s",
            goal="at most 10 s",
            met=measured["median"] <= 10,
        ),
        *quota,
    ]


def _quota_row(project: Path) -> Row:
    """From the first refusal until a patient arrives again.

    It takes a minute, the length of Medplum's block.
    """
    patients = 300
    line = ("node", BASELINE / "quota.mjs", project, str(patients), str(WORKERS))
    measured = json.loads(execute(*line, cwd=project).output)
    return Row(
        f"from Medplum's first refusal, in a burst of {patients} patients, "
        "to the next patient that arrives",
        "",
        f"{measured['seconds']:.0f} s, {measured['refused']} requests refused",
        goal="at most 70 s",
        met=measured["seconds"] <= 70,
    )
