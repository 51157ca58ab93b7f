"""One shared file is changed: from saving it until every bot that carries it is deployed again."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from benchmarks.deploy import create_bots, deploy_by_cli
from benchmarks.local_servers import local
from benchmarks.measure import (
    ROUNDS,
    CommandError,
    Paired,
    Row,
    Side,
    Size,
    compare,
    execute,
    in_turns,
    same_or_fail,
    wait_until,
)
from benchmarks.projects import generated, scratch, starter
from benchmarks.servers import Medplum, Servers

SHARED = Path("src", "shared", "http-helpers.ts")
LOGGED = re.compile(r"(?<=\|\| ')request\d*(?=')")  # in logExternalRequest, which all bots carry
RECIPE = "npm run build, then medplum bot deploy '*'"


def save(project: Path, number: int) -> None:
    """Change a word in a function that all bots share."""
    file = project / SHARED
    text, changed = LOGGED.subn(f"request{number}", file.read_text(encoding="utf-8"))
    if changed != 1:
        raise CommandError(
            "logExternalRequest has no word 'request' any more: change something else here"
        )
    file.write_text(text, encoding="utf-8")


def versions(server: Medplum) -> dict[str, str]:
    """Which code each bot runs, by its name."""
    return {bot["name"]: bot.get("executableCode", {}).get("title", "") for bot in server.bots()}


def measure(bots: int, rounds: int) -> tuple[Paired, str]:
    numbers = itertools.count(1)
    with scratch() as work:
        ours = generated(work, bots)
        theirs = starter(work, ours)
        with local(ours, "dev") as (address, _, _), Servers(ours) as other:
            dev = Medplum(ours, address)
            wait_until(
                lambda: len(versions(dev)) == bots and all(versions(dev).values()),
                "the first deployment",
            )
            create_bots(other, theirs)
            number = [0]

            def change() -> None:
                number[0] = next(numbers)

            def by_dev() -> None:
                before = versions(dev)
                save(ours, number[0])
                wait_until(
                    lambda: all(before[name] != title for name, title in versions(dev).items()),
                    "deployment",
                )

            def by_recipe() -> None:
                save(theirs, number[0])
                execute("npm", "run", "build", cwd=theirs)
                deploy_by_cli(other, theirs)

            times = in_turns(Side(by_dev, change), Side(by_recipe), rounds)
            return times, same_or_fail("code of every bot", dev.deployed(), other.deployed())


def run(size: Size) -> list[Row]:
    rows = []
    for bots in (2,) if size == "smallest" else (2, 40):
        times, same = measure(bots, 1 if size == "smallest" else ROUNDS)
        growth = (
            "with the bots that carry the file: one esbuild call for all, eight deployments at a "
            "time."
        )
        goal = None if size == "smallest" else 0.1
        rows.append(
            compare(
                f"shared file saved, {bots} bots redeployed",
                RECIPE,
                times,
                goal,
                growth=growth,
                same=same,
            )
        )
    return rows
