"""Syncs the public FHIR R4 examples of many types to a real HAPI server.

Counted are those that arrive, and the differences that a comparison finds afterwards.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from benchmarks.measure import CommandError, Row, Size, execute
from benchmarks.projects import BASELINE, generate, installed, scratch
from tests.support import hapi_server

PACKAGE = "hl7.fhir.r4.examples@4.0.1"
"""HL7's own examples, fetched from the npm registry for each run."""


def examples(work: Path) -> Path:
    """The folder with the examples, one file a resource."""
    execute("npm", "pack", "--silent", PACKAGE, cwd=work)
    (archive,) = work.glob("*.tgz")
    with tarfile.open(archive) as files:
        files.extractall(work, filter="data")
    return work / "package"


def sync_examples(limit: int) -> dict[str, Any]:
    """Sync at most this many of them, delete and restore them; what real-data.mjs reports."""
    with scratch() as work, hapi_server.start() as hapi:
        project = generate(work)
        (project / "node_modules").symlink_to(installed(project))
        line = (
            "node",
            BASELINE / "real-data.mjs",
            project,
            hapi.base_url,
            str(limit),
            examples(work),
        )
        # It prints its progress on standard error, and the report last.
        output = execute(*line, cwd=project).output
        report: dict[str, Any] = json.loads(output[output.index("\n{\n") :])
        return report


def run(size: Size) -> list[Row]:
    """What arrived, and what was left over. Nothing is compared with anything else."""
    if lacking := hapi_server.missing():
        raise CommandError(lacking)
    report = sync_examples(50 if size == "smallest" else 100_000)
    total, types = report["resources"], report["types"]
    refused = report["first"]["counts"]["failed"]
    arrived = report["arrived"]
    different = report["dry"]["counts"]["differing"] - refused
    left = total - report["left"]
    return [
        Row(
            f"HL7's examples of {types} types that arrive",
            "",
            f"{arrived} of {total}",
            goal=f"all but those that HAPI refuses ({refused})",
            met=arrived + refused == total,
        ),
        Row(
            "of them, with another content",
            "",
            str(len(report["changed"])),
            goal="0",
            met=not report["changed"],
        ),
        Row(
            "differences that a full comparison finds afterwards",
            "",
            str(different),
            goal="0",
            met=different == 0,
        ),
        Row("left over after all were deleted", "", str(left), goal="0", met=left == 0),
        Row(
            "time of the first full comparison, which writes all",
            "",
            f"{report['first']['seconds']} s",
        ),
    ]
