"""The local FHIR server of a generated repository (`tools/src/fhir-server`), for Python tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.template import REPOSITORY


@contextmanager
def serve(project: Path) -> Iterator[str]:
    """Start the server on a free port; give its address, without a slash at the end."""
    tooling = REPOSITORY / "tests" / "tools"
    shutil.copytree(tooling, project / "tooling-tests", dirs_exist_ok=True)
    command = ["node", "tooling-tests/fhir-server/serve.ts"]
    process = subprocess.Popen(
        command, cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=30)
