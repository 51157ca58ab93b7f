"""How long tests take: a generated repository's own, and those of the template."""

from __future__ import annotations

import statistics

from benchmarks.measure import ROUNDS, Row, Size, execute, seconds
from benchmarks.projects import generate, scratch
from tests.support.packages import installed
from tests.support.template import REPOSITORY


def in_a_generated_repository(rounds: int, example_bots: str) -> list[float]:
    """Return the seconds of each `npm test`."""
    with scratch() as work:
        project = generate(work, example_bots=example_bots)
        (project / "node_modules").symlink_to(installed(project))
        execute("npm", "run", "build", cwd=project)
        if rounds > 1:  # the first run warms caches
            execute("npm", "test", cwd=project)
        return [execute("npm", "test", cwd=project).seconds for _ in range(rounds)]


def run(size: Size) -> list[Row]:
    if size == "smallest":
        own = in_a_generated_repository(1, example_bots="hapi-sync-simple")
    else:
        own = in_a_generated_repository(ROUNDS, example_bots="all")
    growth = "with the team's tests; tests/bundles.test.ts loads every bot twice."
    row = Row(
        "npm test of a generated repository",
        "",
        seconds(own),
        goal="under 4 s",
        met=statistics.median(own) < 4,
    )
    rows = [Row(**{**vars(row), "growth": growth})]
    if size == "full":  # from inside `make test` this would never end
        for target, limit, rounds in (("test-fast", 30, ROUNDS), ("test", 600, 1)):
            taken = [execute("make", target, cwd=REPOSITORY).seconds for _ in range(rounds)]
            met = statistics.median(taken) < limit
            growth = "none: it tests the template; more choices of answers make more bakes."
            rows.append(
                Row(
                    f"make {target}",
                    "",
                    seconds(taken),
                    goal=f"under {limit} s",
                    met=met,
                    growth=growth,
                )
            )
    return rows
