"""Follows each document of a generated repository from top to bottom: its commands must work.

A `sh` block is run line by line. A code block whose first line names a file (`// src/…`) is written
to it. A comment before a block says what is special:

- `needs …`: not run here
- `with the local server`: a server is started first
- `with bots deployed`: all bots are deployed to it, and one has an earlier version to go back to
- `exit 2`, `fails`, `runs until stopped`: how the commands end
- `settings of <bot>` before a `json` block: members for the bot's entry in medplum.config.json
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import template
from tests.support.local_servers import servers

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
    "docs/syncing.md",
    "docs/troubleshooting.md",
    "docs/updating.md",
]


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
        return next(
            (
                mark.removeprefix("settings of ")
                for mark in self.marks
                if mark.startswith("settings of ")
            ),
            None,
        )

    @property
    def file(self) -> str | None:
        """Where to write it to."""
        found = re.match(r"// ((?:src|tests)/\S+)\n", self.text)
        return found[1] if found else None


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
    """Deploy every bot, so that one of them has an earlier version to go back to."""
    bot = project / "src" / "bots" / "hapi-sync-bot.ts"
    first = bot.read_text(encoding="utf-8")
    for text in (first.replace("25_000", "24_000"), first):
        bot.write_text(text, encoding="utf-8")
        template.run("npm", "run", "setup:bots", cwd=project, env=variables)


def try_servers(command: str, project: Path) -> str:
    """See that what serves until it is stopped answers."""
    with servers(project, command) as variables:
        address = f"{variables['MEDPLUM_BASE_URL']}healthcheck"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 -- loopback
            assert answer.status == 200
    return ""


def follow(
    project: Path, name: str, started: ExitStack
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Do what a document says; give each command, what it printed, and the variables it had."""
    variables: dict[str, str] = {}
    deployed = False
    for block in blocks(project / name):
        if block.file:
            (project / block.file).write_text(block.text, encoding="utf-8")
        if block.configured_bot:
            configure(project, block.configured_bot, json.loads(block.text))
        if {"with the local server", "with bots deployed"} & set(block.marks) and not variables:
            variables = started.enter_context(servers(project))
        if "with bots deployed" in block.marks and not deployed:
            deploy_twice(project, variables)
            deployed = True
        wanted = next((int(mark[5:]) for mark in block.marks if mark.startswith("exit ")), 0)
        for command in block.commands:
            if "runs until stopped" in block.marks:
                yield command, try_servers(command, project), {}
                continue
            done = template.run(
                "sh", "-c", command, cwd=project, env={**variables, "NO_COLOR": "1"}, check=False
            )
            said = f"{name}: {command}\n{done.stdout}{done.stderr}"
            if "fails" in block.marks:
                assert done.returncode != 0, said
            else:
                assert done.returncode == wanted, said
            yield command, said, variables


@pytest.mark.parametrize("name", DOCUMENTS)
def test_following_a_document(name: str, new_project: NewProject) -> None:
    project = new_project()
    template.git("init", "--quiet", cwd=project)
    template.git("add", "--all", cwd=project)
    template.git("commit", "--quiet", "--message", "Start", cwd=project)
    with ExitStack() as started:
        for _ in follow(project, name, started):
            pass


def test_a_strangers_first_bot(new_project: NewProject) -> None:
    """From the README alone: write a bot with a shared function, test it, run it, deploy it."""
    project = new_project(example_bots="none")
    printed: dict[str, str] = {}
    with ExitStack() as started:
        for command, said, variables in follow(project, "README.md", started):
            printed[command] = said
            if command == "npm run setup:bots":  # then press "Create"
                telecom = [{"system": "phone", "value": "555-0100"}]
                patient = json.dumps({"resourceType": "Patient", "telecom": telecom}).encode()
                headers = {"Content-Type": "application/fhir+json"}
                address = f"{variables['MEDPLUM_BASE_URL']}_local/resources"
                request = urllib.request.Request(address, patient, headers)  # noqa: S310 -- loopback
                with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                    assert answer.status == 200
                wait_for_a_run(variables["MEDPLUM_BASE_URL"], "check-phone")
    assert re.search(
        r"contact\.ts:\d+\): check-phone\n", printed["npm run analyze -- --find phoneOf"]
    )
    event = "npm run bot -- check-phone --event tests/events/patient-created.json"
    assert '"reachable": false' in printed[event]
    assert re.search(r"\+ check-phone +new\n", printed["npm run setup:bots"])
    assert re.search(r"check-phone +ok", printed["npm run logs -- check-phone"])


def wait_for_a_run(address: str, bot: str) -> None:
    """Ask the local server, as its page does, until a run of the bot has ended."""
    query = f"{address}_local/runs?bot={bot}&status=succeeded"
    for _ in range(300):
        with urllib.request.urlopen(query, timeout=30) as answer:  # noqa: S310 -- loopback
            if json.load(answer)["runs"]:
                return
        time.sleep(0.1)
    pytest.fail(f"{bot} did not run")


def test_every_document_is_followed(baked: Callable[..., Path]) -> None:
    project = baked()
    assert sorted(DOCUMENTS) == sorted(
        ["README.md", *(f"docs/{path.name}" for path in (project / "docs").glob("*.md"))]
    )
    assert sum(len(block.commands) for name in DOCUMENTS for block in blocks(project / name)) > 10


def test_links_between_documents_lead_somewhere(baked: Callable[..., Path]) -> None:
    """With and without the example bots."""
    for example_bots in ("all", "none"):
        project = baked(example_bots=example_bots)
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
