"""Follows each document of a generated repository from top to bottom: its commands must work.

A `sh` block is run line by line. A code block whose first line names a file (`// src/…`) is written
to it. A comment before a block says what is special:

- `needs …`: not run here
- `with the local server`: a server is started first
- `with dev`: `npm run dev` is started first
- `with bots deployed`: all bots are deployed to it, and one has an earlier version to go back to
- `exit 2`, `fails`, `runs until stopped`: how the commands end
- `settings of <bot>` before a `json` block: members for the bot's entry in medplum.config.json
- `file <path>`: the block is written to it
- `printed`: the command before it printed these lines
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import template
from tests.support.local_servers import servers
from tests.support.packages import share_compiled_code

NewProject = Callable[..., Path]

BLOCK = re.compile(
    r"(?:<!-- (?P<marks>[^\n]*?) -->\n\n)?"
    r"^(?P<ticks>```+)(?P<language>\w+)\n(?P<text>.*?)^(?P=ticks)$",
    re.M | re.S,
)
DOCUMENTS = [
    "README.md",
    "docs/adopting.md",
    "docs/code-sharing.md",
    "docs/debugging.md",
    "docs/deploying.md",
    "docs/local-fhir-server.md",
    "docs/local-page.md",
    "docs/runtimes.md",
    "docs/local-development.md",
    "docs/testing.md",
    "docs/tutorial.md",
    "docs/syncing.md",
    "docs/syncing-messages.md",
    "docs/troubleshooting.md",
    "docs/updating.md",
]
# What to start before a block with this mark.
SERVERS = {
    "with the local server": "npm run local",
    "with bots deployed": "npm run local",
    "with dev": "npm run dev",
}
# test_a_newcomers_path follows the README, a page, and the tutorial, which goes on where that ends.
FOLLOWED_BY_A_NEWCOMER = ["README.md", "docs/tutorial.md"]


@dataclass
class Block:
    """A code block and what the comment before it says."""

    language: str
    text: str
    marks: list[str]

    @property
    def commands(self) -> list[str]:
        """The lines to type; none where it needs what a test does not have."""
        if self.language != "sh" or any(mark.startswith("needs ") for mark in self.marks):
            return []
        return [line for line in self.text.splitlines() if line.strip()]

    @property
    def configured_bot(self) -> str | None:
        """The bot whose settings it shows."""
        return self.mark("settings of ")

    @property
    def file(self) -> str | None:
        """Where to write it to."""
        found = re.match(r"// ((?:src|tests)/\S+)\n", self.text)
        return found[1] if found else self.mark("file ")

    @property
    def printed(self) -> list[str]:
        """The lines that the command before it has to print."""
        return self.text.splitlines() if "printed" in self.marks else []

    def mark(self, prefix: str) -> str | None:
        """Return what follows the prefix in the first mark that begins with it."""
        found = (mark.removeprefix(prefix) for mark in self.marks if mark.startswith(prefix))
        return next(found, None)


def configure(project: Path, bot: str, settings: dict[str, object]) -> None:
    """Set members of a bot's entry in medplum.config.json."""
    file = project / "medplum.config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    (entry,) = (entry for entry in config["bots"] if entry["name"] == bot)
    entry.update(settings)
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def blocks(document: Path) -> list[Block]:
    return [
        Block(
            found["language"],
            found["text"],
            [mark.strip() for mark in (found["marks"] or "").split(";")],
        )
        for found in BLOCK.finditer(document.read_text(encoding="utf-8"))
    ]


def deploy_twice(project: Path, variables: dict[str, str]) -> None:
    """Deploy every bot, so that one of them has an earlier version to go back to.

    Without what `npm run setup:bots` checks before it; the documents run that command themselves.
    """
    bot = project / "src" / "bots" / "hapi-sync-bot.ts"
    first = bot.read_text(encoding="utf-8")
    for text in (first.replace("25_000", "24_000"), first):
        bot.write_text(text, encoding="utf-8")
        template.run("node", "esbuild-script.mjs", cwd=project)
        script = "scripts/setup-bots-and-subscriptions.ts"
        template.run("node", script, cwd=project, env=variables)


def try_servers(command: str, project: Path) -> str:
    """See that what serves until it is stopped answers."""
    with servers(project, command) as variables:
        address = f"{variables['MEDPLUM_BASE_URL']}healthcheck"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 -- loopback
            assert answer.status == 200
    return ""


def write_block(project: Path, block: Block) -> None:
    """Write the file or the settings that a block shows."""
    if block.file:
        (project / block.file).write_text(block.text, encoding="utf-8")
    if block.configured_bot:
        configure(project, block.configured_bot, json.loads(block.text))


def run_command(command: str, project: Path, variables: dict[str, str], marks: list[str]) -> str:
    """Run a command, see that it ends as the marks say, and return it with what it printed."""
    environment = {**variables, "NO_COLOR": "1"}
    done = template.run("sh", "-c", command, cwd=project, env=environment, check=False)
    said = f"{command}\n{done.stdout}{done.stderr}"
    if "fails" in marks:
        assert done.returncode != 0, said
    else:
        wanted = next((int(mark[5:]) for mark in marks if mark.startswith("exit ")), 0)
        assert done.returncode == wanted, said
    return said


def follow(
    project: Path, name: str, started: ExitStack
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Do what a document says; give each command, what it printed, and the variables it had."""
    variables: dict[str, str] = {}
    deployed = False
    said = ""
    for block in blocks(project / name):
        write_block(project, block)
        for line in block.printed:
            assert line.strip() in said, f"{name} says that this is printed: {line}\n{said}"
        server = next((SERVERS[mark] for mark in block.marks if mark in SERVERS), None)
        if server and not variables:
            variables = started.enter_context(servers(project, server))
        if "with bots deployed" in block.marks and not deployed:
            deploy_twice(project, variables)
            deployed = True
        for command in block.commands:
            if "runs until stopped" in block.marks:
                yield command, try_servers(command, project), {}
                continue
            said = run_command(command, project, variables, block.marks)
            yield command, said, variables


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in FOLLOWED_BY_A_NEWCOMER])
def test_following_a_document(name: str, new_project: NewProject) -> None:
    project = new_project()
    template.git("init", "--quiet", cwd=project)
    template.git("add", "--all", cwd=project)
    template.git("commit", "--quiet", "--message", "Start", cwd=project)
    with ExitStack() as started:
        for _ in follow(project, name, started):
            pass


HIGH_PRESSURE: dict[str, object] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "Systolic blood pressure"},
    "valueQuantity": {"value": 180, "unit": "mmHg"},
}


def test_a_newcomers_path(new_project: NewProject, compiled: Path) -> None:
    """From the README, and the two pages it leads to, with nothing else typed.

    A bot with a shared function, tested, deployed and run; a bot that creates a Task for a high
    blood pressure, with tests on the local Medplum; a bot on a schedule with the same shared
    module; both seen on the page; bots that fail in six ways, each with its cause and what to
    change.
    """
    project = new_project(example_bots="none")
    follow_the_readme(project, compiled)
    with ExitStack() as started:
        for _ in follow(project, "docs/testing.md", started):
            pass
    follow_the_tutorial(project)


def follow_the_readme(project: Path, compiled: Path) -> None:
    printed: dict[str, str] = {}
    with ExitStack() as started:
        for command, said, variables in follow(project, "README.md", started):
            printed[command] = said
            if command.startswith("npm ci"):  # it installed everything again
                share_compiled_code(project, compiled)
            if command == "npm run setup:bots":  # then press "Create"
                page = Page(variables)
                page.create({"resourceType": "Patient"})
                run = page.wait_for_run("check-phone", "succeeded")
                assert [request["path"] for request in run["timeline"]] == ["/fhir/R4/Task"]
    assert re.search(
        r"contact\.ts:\d+\): check-phone\n", printed["npm run analyze -- --find phoneOf"]
    )
    event = "npm run bot -- check-phone --event tests/events/patient-created.json"
    assert '"reachable": false' in printed[event]
    assert re.search(r"\+ check-phone +new\n", printed["npm run setup:bots"])
    assert re.search(r"check-phone +ok", printed["npm run logs -- check-phone"])


def follow_the_tutorial(project: Path) -> None:
    results = []
    with ExitStack() as started:
        for command, said, variables in follow(project, "docs/tutorial.md", started):
            if command.startswith("npm run analyze"):
                assert "flag-pressure, pressure-summary" in said
            if not command.startswith("npm run bot -- flag-pressure"):
                continue
            # What the page shows: first all is well, then a right is missing.
            page = Page(variables)
            page.create(HIGH_PRESSURE)
            status = "failed" if "failed" in said else "succeeded"
            run = page.wait_for_run("flag-pressure", status)
            results.append((status, [request["path"] for request in run["timeline"]]))
            if status == "failed":
                assert run["failure"]["summary"] == "POST Task: forbidden"
                assert run["failure"]["hint"] == "accessPolicy of flag-pressure: add Task"
            else:
                page.run_now("pressure-summary")
                summary = page.wait_for_run("pressure-summary", "succeeded")
                assert json.loads(summary["result"]["text"]) == {"values": 1, "high": 1}
    assert results == [("succeeded", ["/fhir/R4/Task"]), ("failed", ["/fhir/R4/Task"])]


class Page:
    """The page of the local Medplum, without a browser."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._address = f"{variables['MEDPLUM_BASE_URL']}_local/"

    def create(self, resource: Mapping[str, object]) -> None:
        self._ask("resources", json.dumps(resource).encode())

    def run_now(self, bot: str) -> None:
        """Press "Run now" of a bot with a schedule."""
        (found,) = (entry for entry in self._ask("bots")["bots"] if entry["name"] == bot)
        self._ask(f"bots/{found['id']}/cron", b"{}")

    def wait_for_run(self, bot: str, status: str) -> Any:
        """Wait until a run of the bot has ended like this; return its details."""
        for _ in range(300):
            runs = self._ask(f"runs?bot={bot}&status={status}")["runs"]
            if runs:
                return self._ask(f"runs/{runs[0]['id']}")
            time.sleep(0.1)
        pytest.fail(f"No run of {bot} {status}")

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._address + path, body, headers)  # noqa: S310 -- loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)


def test_every_document_is_followed(baked: Callable[..., Path]) -> None:
    project = baked()
    assert sorted(DOCUMENTS) == sorted(
        ["README.md", *(f"docs/{path.name}" for path in (project / "docs").glob("*.md"))]
    )
    assert sum(len(block.commands) for name in DOCUMENTS for block in blocks(project / name)) > 10


@pytest.mark.parametrize("example_bots", template.QUESTIONS["example_bots"])
def test_the_readme_is_the_same_with_all_examples(
    example_bots: str, baked: Callable[..., Path]
) -> None:
    """So that following it once is enough: only the command to recreate has the answers."""

    def shown(project: Path) -> list[Block]:
        return [block for block in blocks(project / "README.md") if "needs uv" not in block.marks]

    readme = shown(baked(example_bots=example_bots))
    assert len(readme) > 5
    assert readme == shown(baked(example_bots="none"))


def test_links_between_documents_lead_somewhere(baked: Callable[..., Path]) -> None:
    """With and without the example bots."""
    for example_bots, failure_alerts in (("all", "failure-alert-bot"), ("none", "none")):
        project = baked(example_bots=example_bots, failure_alerts=failure_alerts)
        for document in [
            project / "README.md",
            project / "AGENTS.md",
            *(project / "docs").glob("*.md"),
        ]:
            for target in re.findall(
                r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")
            ):
                assert (document.parent / target).exists(), f"{document.name} points at {target}"


def test_documents_name_only_scripts_that_there_are(baked: Callable[..., Path]) -> None:
    """Also inside sentences and tables, with and without the example bots."""
    for example_bots in ("all", "none"):
        project = baked(example_bots=example_bots)
        scripts = json.loads((project / "package.json").read_text(encoding="utf-8"))["scripts"]
        documents = [*project.glob("*.md"), *project.glob("docs/*.md"), *project.glob("tools/*.md")]
        for document in documents:
            text = document.read_text(encoding="utf-8")
            for script in re.findall(r"npm run (?:--silent )?([a-z][a-z:]*)", text):
                assert script in scripts, f"{document.name}: npm run {script}"
