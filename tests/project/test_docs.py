"""What the documents of a generated repository tell people to type works: each is followed from top to bottom.

A `sh` block is run line by line, and a code block whose first line names a file (`// src/…`) is written there. A
comment before a block says what is special: `needs …` (not run here), `with the local server` (started, and deployed
to, before), `exit 2`, `fails`, `runs until stopped`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import template

NewProject = Callable[..., Path]

BLOCK = re.compile(
    r"(?:<!-- (?P<marks>[^\n]*?) -->\n\n)?^(?P<ticks>```+)(?P<language>\w+)\n(?P<text>.*?)^(?P=ticks)$", re.M | re.S
)
DOCUMENTS = [
    "README.md",
    "docs/code-sharing.md",
    "docs/deploying.md",
    "docs/runtimes.md",
    "docs/syncing.md",
    "docs/troubleshooting.md",
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
    def file(self) -> str | None:
        """Where to write it to."""
        found = re.match(r"// ((?:src|tests)/\S+)\n", self.text)
        return found[1] if found else None


def blocks(document: Path) -> list[Block]:
    return [
        Block(found["language"], found["text"], [mark.strip() for mark in (found["marks"] or "").split(";")])
        for found in BLOCK.finditer(document.read_text(encoding="utf-8"))
    ]


def wait_for_addresses(server: subprocess.Popen[str]) -> dict[str, str]:
    """Read what `npm run local` prints until both servers have said where they are."""
    assert server.stdout is not None
    shown = ""
    for line in server.stdout:
        shown += line
        found = re.findall(r"http://(?:localhost|127\.0\.0\.1):\d+(?:/fhir)?", shown)
        medplum = [address for address in found if not address.endswith("/fhir")]
        if medplum and len(found) > len(medplum):
            return {"MEDPLUM_BASE_URL": f"{medplum[0]}/"}
    raise AssertionError(f"npm run local ended: {shown}")


@contextmanager
def local_server(project: Path) -> Iterator[dict[str, str]]:
    """Start the local servers with every bot deployed twice, so that there is an earlier version to go back to."""
    command = ["node", "tools/local/local.ts", "--port", "0", "--fhir-port", "0"]
    server = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    try:
        variables = wait_for_addresses(server)
        bot = project / "src" / "bots" / "hapi-sync-bot.ts"
        first = bot.read_text(encoding="utf-8")
        for text in (first.replace("25_000", "24_000"), first):
            bot.write_text(text, encoding="utf-8")
            template.run("npm", "run", "setup:bots", cwd=project, env=variables)
        yield variables
    finally:
        server.terminate()
        server.communicate()


def run_until_stopped(command: str, project: Path, variables: dict[str, str]) -> None:
    """Start what serves until Ctrl-C, on free ports, see it answer, and end it."""
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command} -- --port 0 --fhir-port 0"],
        cwd=project,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        address = wait_for_addresses(process)["MEDPLUM_BASE_URL"]
        with urllib.request.urlopen(f"{address}healthcheck", timeout=30) as answer:  # noqa: S310
            assert answer.status == 200
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_following_a_document(name: str, new_project: NewProject) -> None:
    project = new_project()
    variables: dict[str, str] = {}
    servers = None
    try:
        for block in blocks(project / name):
            if block.file:
                (project / block.file).write_text(block.text, encoding="utf-8")
            if "with the local server" in block.marks and servers is None:
                servers = local_server(project)
                variables = servers.__enter__()
            wanted = next((int(mark[5:]) for mark in block.marks if mark.startswith("exit ")), 0)
            for command in block.commands:
                if "runs until stopped" in block.marks:
                    run_until_stopped(command, project, variables)
                    continue
                done = template.run("sh", "-c", command, cwd=project, env=variables, check=False)
                said = f"{name}: {command}\n{done.stdout}{done.stderr}"
                if "fails" in block.marks:
                    assert done.returncode != 0, said
                else:
                    assert done.returncode == wanted, said
    finally:
        if servers is not None:
            servers.__exit__(None, None, None)


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
        for document in [project / "README.md", project / "AGENTS.md", *(project / "docs").glob("*.md")]:
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
                assert (document.parent / target).exists(), f"{document.name} points at {target}"
