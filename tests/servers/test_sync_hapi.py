"""The built sync bots against a real HAPI server: whole lives of patients, races, held writes, faults."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.hapi_server import HapiServer

TESTS = Path(__file__).parent / "sync"


def test_the_built_bots_keep_a_real_hapi_in_step(hapi: HapiServer, project: Path) -> None:
    """Build the bots of a baked repository and run them in the sandbox; see sync/hapi.test.ts for each case."""
    shutil.copytree(TESTS, project / "server-tests", dirs_exist_ok=True)
    hapi.empty("Patient")
    environment = {**os.environ, "HAPI_BASE_URL": hapi.base_url}
    for arguments in (
        ["node", "esbuild-script.mjs", "--production"],
        ["npx", "vitest", "run", "--config", "server-tests/vitest.config.ts"],
    ):
        done = subprocess.run(arguments, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
