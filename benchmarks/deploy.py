"""Measures deployments, compared with the official CLI.

Both deploy the same bundles to the same local server, with 10 ms of latency for each request.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks.measure import (
    ROUNDS,
    Paired,
    Row,
    Side,
    Size,
    compare,
    execute,
    in_turns,
    same_or_fail,
)
from benchmarks.projects import generated, scratch, starter
from benchmarks.servers import Medplum, Servers

DELAY_MS = 10
SETUP = (
    "node",
    "--require",
    "./tools/bin/require-environment.cjs",
    "scripts/setup-bots-and-subscriptions.ts",
)
"""What `npm run setup:bots` starts, without the build before it."""

CLI = f"medplum bot deploy '*', {DELAY_MS} ms of latency"
FIRST = (
    "linear, eight bots at a time: each is its code, an upsert, a membership, a $deploy and a mark "
    "of its success."
)
AGAIN = (
    "hardly: the same requests; each bundle is read and hashed, each bot compared. "
    "The CLI's: linear."
)


def create_bots(server: Medplum, project: Path) -> None:
    """Create the bots of a configuration: the CLI deploys to ids that stand in it."""
    file = project / "medplum.config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for bot in config["bots"]:
        bot["id"] = server.ask("fhir/R4/Bot", {"resourceType": "Bot", "name": bot["name"]})["id"]
    file.write_text(json.dumps(config), encoding="utf-8")


def deploy_by_cli(server: Medplum, project: Path) -> None:
    """`npx medplum bot deploy '*'`, without npx."""
    cli = "node_modules/@medplum/cli/dist/cjs/index.cjs"
    execute(
        "node", cli, "bot", "deploy", "*", cwd=project, env={**server.env, "HOME": str(project)}
    )


class Deployments:
    """A generated repository and the starter with the same built bots, and a server for each."""

    def __init__(self, work: Path, bots: int) -> None:
        self.ours = generated(work, bots)
        self.theirs = starter(work, self.ours)
        self.servers: dict[str, Servers] = {}
        self.megabytes = 0.0
        execute("node", "esbuild-script.mjs", "--production", cwd=self.ours)
        (self.theirs / "dist").symlink_to(self.ours / "dist")

    def fresh(self, side: str) -> Servers:
        """An empty server for one side, in place of the one it had."""
        if side in self.servers:
            self.servers.pop(side).stop()
        self.servers[side] = Servers(self.ours, DELAY_MS)
        return self.servers[side]

    def fresh_with_bots(self) -> None:
        """An empty server with bots in it but no code."""
        create_bots(self.fresh("theirs"), self.theirs)

    def deploy(self) -> None:
        done = execute(*SETUP, "--yes", cwd=self.ours, env=self.servers["ours"].env)
        self.megabytes = max(self.megabytes, done.megabytes)

    def deploy_by_cli(self) -> None:
        deploy_by_cli(self.servers["theirs"], self.theirs)

    def first(self, rounds: int) -> Paired:
        """Deploy everything to servers that have no code."""
        ours = Side(self.deploy, lambda: self.fresh("ours"))
        return in_turns(ours, Side(self.deploy_by_cli, self.fresh_with_bots), rounds)

    def again(self, rounds: int) -> Paired:
        """Deploy once more what is deployed."""
        return in_turns(Side(self.deploy), Side(self.deploy_by_cli), rounds)

    def check(self) -> str:
        what = "code of every bot"
        return same_or_fail(
            what, self.servers["ours"].deployed(), self.servers["theirs"].deployed()
        )

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()


def measure(bots: int, rounds: int) -> tuple[Paired, Paired, str, int, float]:
    """Measure the first and second deployment of this many bots.

    Also returned are the requests of a deployment that changes nothing, and the memory it took.
    """
    with scratch() as work:
        both = Deployments(work, bots)
        try:
            first = both.first(rounds)
            again = both.again(rounds)
            same = both.check()
            server = both.servers["ours"]
            before = len(server.requests()["medplum"])
            both.deploy()
            return first, again, same, len(server.requests()["medplum"]) - before, both.megabytes
        finally:
            both.stop()


def run(size: Size) -> list[Row]:
    if size == "smallest":
        first, again, same, requests, _ = measure(2, rounds=1)
        return [
            compare("first deployment, 2 bots", CLI, first, None, same=same),
            compare("redeployment, unchanged", CLI, again, None),
            Row("requests of it", "", str(requests)),
        ]
    alone = measure(1, 1)
    first, again, same, requests, megabytes = measure(40, ROUNDS)
    many_first, many_again, _, many_requests, many_megabytes = measure(400, ROUNDS)
    a_bot = [
        statistics.median(many_first.ours) / 400 * 1000,
        statistics.median(first.ours) / 40 * 1000,
    ]
    return [
        compare("first deployment, 40 bots", CLI, first, 0.5, growth=FIRST, same=same),
        compare("redeployment, 40 unchanged", CLI, again, 0.2, growth=AGAIN),
        compare("first deployment, 400 bots", CLI, many_first, None, growth=FIRST),
        compare("redeployment, 400 unchanged", CLI, many_again, None, growth=AGAIN),
        Row(
            "first deployment of 400, for each bot",
            "the same of 40",
            f"{a_bot[0]:.1f} ms",
            f"{a_bot[1]:.1f} ms",
            a_bot[0] / a_bot[1],
            "at most 1x",
            a_bot[0] <= a_bot[1],
            "falls: the start of the program and the three searches are shared by more bots.",
        ),
        Row(
            "requests of an unchanged run, 1 / 40 / 400 bots",
            "",
            f"{alone[3]} / {requests} / {many_requests}",
            goal="at most 5",
            met=max(alone[3], requests, many_requests) <= 5,
            growth="constant: searches answer for all bots at once, 1,000 a page.",
        ),
        Row(
            "largest memory, 400 bots",
            "the same with 40",
            f"{many_megabytes:.0f} MB",
            f"{megabytes:.0f} MB",
            many_megabytes / megabytes,
            "flat: at most 1.25x",
            many_megabytes <= 1.25 * megabytes,
            "bundles are read one at a time; the rest is Node's young generation, 32 MB once it is "
            "full.",
        ),
    ]
