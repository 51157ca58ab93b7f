"""Public FHIR R4 examples of many types on a real HAPI server.

Counted are those that arrive, and the differences that a comparison finds afterwards. HL7's own
examples are about 500 resources. For more, name folders with JSON files (resources, or Bundles such
as those of Synthea) in REAL_DATA, separated by colons:

    REAL_DATA=us-core/examples:synthea/R4 python -m benchmarks real_data
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.measure import CommandError, Row, Size, execute
from benchmarks.projects import BASELINE, generate, scratch
from tests.support import hapi_server
from tests.support.archives import unpack
from tests.support.hapi_server import HapiServer
from tests.support.packages import installed

PACKAGE = "hl7.fhir.r4.examples@4.0.1"
"""HL7's own examples, fetched from the npm registry for each run."""


def examples(work: Path) -> Path:
    """The folder with the examples, one file a resource."""
    execute("npm", "pack", "--silent", PACKAGE, cwd=work)
    (archive,) = work.glob("*.tgz")
    unpack(archive, work)
    return work / "package"


def more_folders() -> list[Path]:
    """The folders that REAL_DATA names."""
    names = os.environ.get("REAL_DATA", "").split(os.pathsep)
    return [Path(name).resolve() for name in names if name]


def sync_examples(limit: int, server: HapiServer | None) -> dict[str, Any]:
    """Sync at most this many of them, delete and restore them; what real-data.mjs reports."""
    with scratch() as work, hapi_server.started_or(server) as hapi:
        project = generate(work)
        (project / "node_modules").symlink_to(installed(project))
        line: tuple[str | Path, ...] = (
            "node",
            BASELINE / "real-data.mjs",
            project,
            hapi.base_url,
            str(limit),
            examples(work),
            *more_folders(),
        )
        # It prints its progress on standard error, and the report last.
        output = execute(*line, cwd=project).output
        report: dict[str, Any] = json.loads(output[output.index("\n{\n") :])
        return report


def run(size: Size, server: HapiServer | None = None) -> list[Row]:
    """What arrived, and what was left over. Nothing is compared with anything else.

    Measured on this HAPI server without resources, or on a new one.
    """
    if lacking := hapi_server.missing():
        raise CommandError(lacking)
    report = sync_examples(20 if size == "smallest" else 100_000, server)
    total, types = report["resources"], report["types"]
    refused = report["first"]["counts"]["failed"]
    arrived = report["arrived"]
    return [
        Row(
            f"public examples of {types} types that arrive",
            "",
            f"{arrived} of {total}{_without(report['missing'])}",
            goal=f"all but those that HAPI refuses ({refused})",
            met=arrived + refused == total,
        ),
        _none("of them, with another content", len(report["changed"])),
        _none(
            "differences that a full comparison finds afterwards, apart from those",
            report["dry"]["counts"]["differing"] - refused,
        ),
        _none("left over after all were deleted", total - report["left"]),
        _none(
            "differences after all were restored, apart from those",
            report["afterRestore"]["counts"]["differing"] - refused,
        ),
        _none("left over after all were deleted again", total - report["leftAgain"]),
        Row(
            "time of the first full comparison, which writes all",
            "",
            f"{report['first']['seconds']} s",
        ),
    ]


def _without(missing: list[str]) -> str:
    return f", not {' and '.join(missing)}" if missing else ""


def _none(what: str, count: int) -> Row:
    return Row(what, "", str(count), goal="0", met=count == 0)
