"""The page of the local Medplum with as many runs as it keeps: how soon its views answer."""

from __future__ import annotations

import statistics
import time
from urllib.request import urlopen

from benchmarks.local_servers import local
from benchmarks.measure import ROUNDS, CommandError, Row, Size
from benchmarks.projects import generated, scratch
from benchmarks.servers import Medplum

LIMIT_MS = 100
RUNS = 1000
LOG_CHARACTERS = 20_000
CODE = f"""exports.handler = async () => {{
  for (let line = 0; line < 200; line++) console.log('x'.repeat({LOG_CHARACTERS // 200}));
  return true;
}};"""
GROWTH = "none with the bots; the server keeps 1,000 runs, and a list shows 50 of them."


def add_runs(server: Medplum, count: int) -> str:
    """Run a bot so often; return the id of one of its runs."""
    project = server.env["MEDPLUM_PROJECT_ID"]
    bot = server.ask(
        f"admin/projects/{project}/bot", {"name": "talker", "runtimeVersion": "vmcontext"}
    )
    deployment = {"code": CODE, "filename": "index.js"}
    server.ask(f"fhir/R4/Bot/{bot['id']}/$deploy", deployment)
    for number in range(count):
        server.ask(f"fhir/R4/Bot/{bot['id']}/$execute", {"number": number})
    listed = server.ask("_local/runs")
    if listed["total"] != count:
        raise CommandError(f"the page lists {listed['total']} runs instead of {count}")
    return str(listed["runs"][0]["id"])


def milliseconds(url: str, rounds: int) -> float:
    """The median time of a request with its whole answer."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        with urlopen(url) as answer:  # noqa: S310 -- loopback
            answer.read()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def run(size: Size) -> list[Row]:
    rounds, count = (1, 20) if size == "smallest" else (ROUNDS * 4, RUNS)
    with scratch() as work:
        project = generated(work, bots=2)
        with local(project) as (address, _, _):
            server = Medplum(project, address)
            latest = add_runs(server, count)
            views = {
                "the list of runs": "runs",
                "the failed runs of one bot": "runs?bot=talker&status=failed",
                "one run": f"runs/{latest}",
                "its log": f"runs/{latest}/log",
                "the bots": "bots",
            }
            found = {
                view: milliseconds(f"{address}_local/{path}", rounds)
                for view, path in views.items()
            }
    kept = f"{count:,} runs and {count * LOG_CHARACTERS / 1e6:.1f} MB of log"
    return [
        Row(
            f"the page with {kept}: {view}",
            "",
            f"{time_ms:.1f} ms",
            goal=f"within {LIMIT_MS} ms",
            met=time_ms <= LIMIT_MS,
            growth=GROWTH,
        )
        for view, time_ms in found.items()
    ]
