"""The built sync bots against a real HAPI server: changes, races, delayed writes, faults."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support import template
from tests.support.hapi_server import HapiServer

TESTS = Path(__file__).parent / "sync"
FORWARD_REQUEST = template.ROOT / "tests" / "tools" / "forward-request.ts"

SYNCED_TYPES = (
    "Organization",
    "Location",
    "Practitioner",
    "PractitionerRole",
    "Patient",
    "RelatedPerson",
    "Questionnaire",
    "Encounter",
    "Condition",
    "Immunization",
    "QuestionnaireResponse",
    "Observation",
    "DocumentReference",
    "Composition",
    "Task",
)

# Each is built into dist/<name>: what it replaces in src/shared/sync/config.ts.
VARIANTS = {
    "deactivate": ("onDelete: 'delete',", "onDelete: 'deactivate',"),
    "types": ("types: ['Patient'],", f"types: {list(SYNCED_TYPES)},"),
    "bots": ("", ""),
}


def test_the_built_bots_keep_a_real_hapi_in_step(
    hapi: HapiServer,
    new_project: Callable[..., Path],
) -> None:
    """Build the bots and run them in the sandbox; sync/hapi.test.ts has each case."""
    project = new_project(example_bots="all", bot_runtime="vmcontext")
    shutil.copytree(TESTS, project / "server-tests")
    shutil.copy(FORWARD_REQUEST, project / "server-tests")
    hapi.empty(*SYNCED_TYPES)
    config = project / "src" / "shared" / "sync" / "config.ts"
    text = config.read_text(encoding="utf-8")
    for name, (old, new) in VARIANTS.items():
        assert old in text
        config.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
        template.run("node", "esbuild-script.mjs", "--production", cwd=project)
        (project / "dist" / "bots").replace(project / "dist" / f"{name}.built")
    for name in VARIANTS:
        (project / "dist" / f"{name}.built").replace(project / "dist" / name)
    line = ("npx", "vitest", "run", "--config", "server-tests/vitest.config.ts")
    done = template.run(
        *line, cwd=project, check=False, env={"NO_COLOR": "1", "HAPI_BASE_URL": hapi.base_url}
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    summary = re.search(r"Tests +(.*)", done.stdout)
    assert summary, done.stdout
    assert re.fullmatch(r"\d+ passed \(\d+\)", summary[1].strip()), (
        f"some did not run: {summary[1]}"
    )
