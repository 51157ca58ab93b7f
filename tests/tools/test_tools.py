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


@pytest.mark.parametrize("area", AREAS)
def test_the_tooling(
    area: str,
    new_project: Callable[..., Path],
    add_tooling_tests: Callable[[Path], None],
    record_property: Callable[[str, object], None],
) -> None:
    project = new_project()
    add_tooling_tests(project)
    line = (
        "node",
        "node_modules/vitest/vitest.mjs",
        "run",
        "--config",
        "tooling-tests/vitest.config.ts",
        f"tooling-tests/{area}/",
    )
    done = template.run(*line, cwd=project, check=False, env={"NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    for schedules in re.findall(r"^\d+ schedules, seed -?\d+$", done.stdout, re.MULTILINE):
        record_property("seed", f"{area}: {schedules}")
    summary = re.search(r"Tests +(.*)", done.stdout)
    assert summary, done.stdout
    assert re.fullmatch(r"\d+ passed \(\d+\)", summary[1].strip()), (
        f"some did not run: {summary[1]}"
    )


def test_the_tooling_tests_are_typed(
    new_project: Callable[..., Path], add_tooling_tests: Callable[[Path], None]
) -> None:
    project = new_project()
    add_tooling_tests(project)
    config = (
        (project / "tsconfig.json")
        .read_text(encoding="utf-8")
        .replace('"src",', '"src", "tooling-tests",')
        # A repository of its own, with Jest and packages that are not installed here.
        .replace('"exclude": [', '"exclude": ["tooling-tests/adopt/example", ')
    )
    (project / "tsconfig.json").write_text(config, encoding="utf-8")
    done = template.run("npx", "tsc", cwd=project, check=False)
    assert done.returncode == 0, done.stdout
