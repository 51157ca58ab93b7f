"""The TypeScript tests of the tooling, run inside a generated repository, area by area."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import template

TOOLS = template.ROOT / "tests" / "tools"
AREAS = sorted(
    path.name for path in TOOLS.iterdir() if path.is_dir() and any(path.rglob("*.test.ts"))
)

# Their files leave the process as they found it: its variables, its folder, what is mocked. So one
# process can run one file after the other, and loads the tools once.
TOGETHER = {
    "config",
    "dev",
    "fhir-server",
    "medplum",
    "page",
    "runtime",
    "sync",
    "template",
    "testing",
}


@pytest.fixture(scope="session")
def tooling_project(
    new_project: Callable[..., Path], add_tooling_tests: Callable[[Path], None]
) -> Path:
    """A repository with these tests. It is shared, so that Node compiles its files only once."""
    project = new_project()
    add_tooling_tests(project)
    return project


@pytest.mark.parametrize("area", AREAS)
def test_the_tooling(
    area: str, tooling_project: Path, record_property: Callable[[str, object], None]
) -> None:
    line = (
        "node",
        "node_modules/vitest/vitest.mjs",
        "run",
        "--config",
        "tooling-tests/vitest.config.ts",
        f"tooling-tests/{area}/",
        *(["--no-isolate"] if area in TOGETHER else []),
    )
    # The folder that the tools use, also for vitest and everything that the tests start.
    compiled = tooling_project / "node_modules" / ".cache" / "medplum-bots"
    variables = {"NO_COLOR": "1", "NODE_COMPILE_CACHE": str(compiled)}
    done = template.run(*line, cwd=tooling_project, check=False, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    for schedules in re.findall(r"^\d+ schedules, seed -?\d+$", done.stdout, re.MULTILINE):
        record_property("seed", f"{area}: {schedules}")
    summary = re.search(r"Tests +(.*)", done.stdout)
    assert summary, done.stdout
    assert re.fullmatch(r"\d+ passed \(\d+\)", summary[1].strip()), (
        f"some did not run: {summary[1]}"
    )


def test_the_tooling_tests_are_typed(tooling_project: Path) -> None:
    config = (tooling_project / "tsconfig.json").read_text(encoding="utf-8")
    # Without a repository with Jest and packages that are not installed here, and a copy.
    left_out = '"tooling-tests/adopt/example", "tooling-tests/shared-tools", '
    config = config.replace('"src",', '"src", "tooling-tests",')
    config = config.replace('"exclude": [', f'"exclude": [{left_out}')
    name = "tsconfig.with-tooling-tests.json"
    (tooling_project / name).write_text(config, encoding="utf-8")
    done = template.run("npx", "tsc", "--project", name, cwd=tooling_project, check=False)
    assert done.returncode == 0, done.stdout
