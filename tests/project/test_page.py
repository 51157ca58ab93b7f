"""The page of the local Medplum in a real Chromium: what users see and do.

Also by keyboard, in light and dark, and on a phone.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import template
from tests.support.browser import ENTER, Browser, missing
from tests.support.local_page import Dev, Page

PHONE = (375, 812)
DESKTOP = (1280, 860)

# A bot for each thing that the page shows of a run; `sends` uses a shared module.
BOTS = {
    "breaks": """
export async function handler(medplum: MedplumClient, event: BotEvent): Promise<void> {
  const { tell } = event.input as { tell: () => void };
  tell();
}
""",
    "chatty": """
export async function handler(_medplum: MedplumClient, event: BotEvent): Promise<unknown> {
  console.log(`first line\\n${'all work and no play\\n'.repeat(1000)}last line`);
  return event.input;
}
""",
    "forbidden": """
export async function handler(medplum: MedplumClient): Promise<void> {
  await medplum.createResource({ resourceType: 'Task', status: 'ready', intent: 'order' });
}
""",
    "slow": """
import { setTimeout } from 'node:timers/promises';
export async function handler(): Promise<string> {
  await setTimeout(3000);
  return 'slow but sure';
}
""",
}
IMPORT = "import type { BotEvent, MedplumClient } from '@medplum/core';\n"


@contextmanager
def running(project: Path) -> Iterator[Page]:
    lacking = missing()
    if lacking and not os.environ.get("CI"):
        pytest.skip(lacking)
    dev = Dev(project)
    try:
        with Browser() as browser:
            browser.resize(*DESKTOP)
            yield Page(browser, dev)
    finally:
        dev.stop()


@pytest.fixture(scope="module")
def page(new_project: Callable[..., Path]) -> Iterator[Page]:
    """The page with all example bots, and an external FHIR server."""
    with running(new_project()) as opened:
        yield opened


@pytest.fixture(scope="module")
def own_page(new_project: Callable[..., Path]) -> Iterator[Page]:
    """The page of a repository without the sync examples, with bots of the team's own."""
    project = new_project(example_bots="none")
    config_file = project / "medplum.config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    for name, code in BOTS.items():
        (project / "src" / "bots" / f"{name}.ts").write_text(IMPORT + code.lstrip())
        entry: dict[str, object] = {
            "name": name,
            "source": f"src/bots/{name}.ts",
            "dist": f"dist/bots/{name}.js",
        }
        entry |= {"runtimeVersion": "vmcontext"}
        if name == "forbidden":
            entry |= {"accessPolicy": [{"resourceType": "Patient"}]}
        config["bots"].append(entry)
    config_file.write_text(json.dumps(config))
    with running(project) as opened:
        yield opened


def test_a_patient_is_created_and_its_run_read_by_keyboard(page: Page) -> None:
    page.open("runs")
    page.go_to("Resources")
    page.browser.press(ENTER)
    page.go_to("New resource")
    page.browser.press(ENTER)
    page.shows("Resource or Bundle")
    page.go_to("Create")
    page.browser.press(ENTER)
    page.shows(r"Patient [0-9a-f-]{36}.*History.*Created")
    page.go_to("Runs about it")
    page.browser.press(ENTER)
    page.shows("Succeeded hapi-sync-bot create Patient/")
    page.go_to("hapi-sync-bot")
    page.browser.press(ENTER)
    shown = page.shows(r"Timeline.*Result.*\"created\"")
    assert re.search(r"Medplum GET Patient/\w{8} .*200", shown)
    assert re.search(r"127\.0\.0\.1:\d+ PUT /fhir/Patient/\w{8} .*201", shown)
    assert page.focused() == "hapi-sync-bot", "the opened run has the focus"


def test_what_both_servers_hold_is_compared(page: Page) -> None:
    patient = {"resourceType": "Patient", "active": True, "name": [{"family": "Seacole"}]}
    [created] = page.dev.call("POST", "resources", patient)["created"]
    page.open("compare/Patient")
    page.shows(r"Seacole (\w{8}) \1 Same")
    page.dev.call("POST", "faults", {"kind": "503"})
    resource = page.dev.call("GET", f"resources/{created}")
    page.dev.call("PUT", f"resources/{created}", {**resource, "birthDate": "1805-11-23"})
    page.shows(r"Seacole (\w{8}) \1 Different")
    page.press("Seacole")
    page.shows(r'- "birthDate": "1805-11-23"')
    page.shows("On: 503")
    page.press("Switch all off")
    page.shows("No fault is on")
    page.open("bots")
    page.press("Run now: hapi-reconcile-bot")  # repairs what the sync bot gave up
    page.shows("hapi-reconcile-bot Last run: Succeeded")
    page.open("compare/Patient")
    page.shows(r"Seacole (\w{8}) \1 Same")


def test_a_resource_is_edited_and_deleted(page: Page) -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "Blackwell"}]}
    [created] = page.dev.call("POST", "resources", patient)["created"]
    page.open(f"resources/{created}")
    page.press("Edit")
    page.fill("Resource", "{ this is not JSON")
    problem = "return document.querySelector('dialog .problem').textContent"
    assert page.browser.wait_for(problem), "the mistake is named"
    edited = {**page.dev.call("GET", f"resources/{created}"), "gender": "female"}
    page.fill("Resource", json.dumps(edited))
    page.press("Save", "dialog")
    page.shows(r'Updated.*\+ "gender": "female"')
    page.press("Delete")
    page.press("Delete it", "dialog")
    page.shows("deleted History Deleted")


def test_resources_are_searched(page: Page) -> None:
    for family in ("Bassi", "Germain"):
        page.dev.call(
            "POST", "resources", {"resourceType": "Patient", "name": [{"family": family}]}
        )
    page.open("resources/Patient")
    page.fill("Search", "name=germ")
    assert "Bassi" not in page.shows("Germain")
    page.fill("Search", "nonsense=1")
    page.shows("nonsense")


def test_bots_are_described(page: Page) -> None:
    page.open("bots")
    shown = page.shows(r"hapi-sync-bot.*Patient create, update, delete.*HAPI_BASE_URL set")
    assert "hapi-reconcile-bot" in shown
    assert re.search(r"Access Patient read\b", shown)
    assert re.search(r"Code hapi-sync-bot\.\w+\.cjs", shown)
    page.press("Run now: hapi-reconcile-bot")
    page.shows(r"hapi-reconcile-bot Last run: Succeeded")
    page.open("runs?bot=hapi-reconcile-bot")
    page.shows("Succeeded hapi-reconcile-bot cron")


def test_a_failed_run_names_its_line_and_is_sent_again_with_another_event(own_page: Page) -> None:
    own_page.dev.send("breaks", {"resourceType": "Patient"})
    own_page.open("runs?status=failed&bot=breaks")
    own_page.press("breaks")
    shown = own_page.shows(r"Error tell is not a function src/bots/breaks\.ts:4:3")
    assert re.search(r"4 tell\(\);", shown), "the line itself is shown"
    own_page.press("Edit and send")
    own_page.fill("Event", json.dumps({"input": {"number": 5}}))
    own_page.press("Send event", "dialog")
    own_page.shows(r'"number": 5')
    own_page.press("Run again")
    own_page.shows("3 runs")


def test_a_refused_request_stands_out_in_the_timeline(own_page: Page) -> None:
    run = own_page.dev.send("forbidden", {})
    own_page.open(f"runs/{run}")
    own_page.shows(r"Medplum POST Task medplum\.createResource src/bots/forbidden\.ts:3:\d+ 403")


def test_a_running_bot_is_visible_while_it_runs(own_page: Page) -> None:
    own_page.open("runs?bot=slow")
    own_page.dev.send("slow", {})
    own_page.shows("Running slow execute")
    own_page.press("slow")
    own_page.shows(r"slow Running .*The log appears when the run ends")
    own_page.shows(r"slow Succeeded .*slow but sure")


def test_an_event_is_saved_as_a_sample(own_page: Page) -> None:
    run = own_page.dev.send("chatty", {"resourceType": "Patient", "id": "1"})
    own_page.open(f"runs/{run}")
    own_page.press("Save as sample event")
    own_page.fill("Name", "from-the-page")
    own_page.press("Save", "dialog")
    file = own_page.dev.project / "tests" / "events" / "from-the-page.json"
    saved = "return document.querySelector('.notices').textContent"
    assert "Saved tests/events/from-the-page.json" in own_page.browser.wait_for(saved)
    assert json.loads(file.read_text(encoding="utf-8"))["input"] == {
        "resourceType": "Patient",
        "id": "1",
    }
    own_page.press("Save as sample event")
    own_page.fill("Name", "from-the-page")
    own_page.press("Save", "dialog")
    own_page.press("Replace it", "dialog")
    own_page.open("bots")
    own_page.press("Send an event to chatty")
    own_page.fill("Start from a sample event", "tests/events/from-the-page.json")
    value = "return document.querySelector('dialog textarea').value"
    assert '"id": "1"' in own_page.browser.wait_for(value, lambda text: '"id": "1"' in text)


def test_a_thousand_runs_with_20_mb_of_log(own_page: Page) -> None:
    bots = {entry["name"]: entry["id"] for entry in own_page.dev.call("GET", "bots")["bots"]}
    for number in range(1000):
        own_page.dev.call("POST", f"bots/{bots['chatty']}/send", {"input": {"number": number}})
    own_page.open("runs?bot=chatty")
    total = "return document.getElementById('runs-total').textContent"
    assert own_page.browser.wait_for(total, lambda text: text != "0 runs").endswith(" runs")
    rows = "return document.querySelectorAll('.runs tbody tr').length"
    assert own_page.browser.wait_for(rows, (50).__eq__) == 50
    own_page.press("Show more runs")
    assert own_page.browser.wait_for(rows, (100).__eq__) == 100
    own_page.press("chatty")
    own_page.shows(r"Log first line all work .* last line")
    elements = own_page.browser.run("return document.querySelectorAll('*').length")
    assert elements < 3000, "the page stays small"


def test_the_page_goes_on_after_a_restart_of_the_server(own_page: Page) -> None:
    own_page.dev.send("chatty", {})
    own_page.open("runs")
    own_page.shows("chatty")
    own_page.dev.stop()
    own_page.wait_for_state("Not connected")
    own_page.dev.start()
    own_page.wait_for_state("Live")
    own_page.shows("No bot has run yet")
    banner = "return document.querySelector('.banner')?.textContent ?? ''"
    assert "started again" in own_page.browser.wait_for(banner)
    own_page.dev.send("chatty", {})
    own_page.shows("Succeeded chatty")


def test_without_an_external_server_there_is_nothing_to_compare(own_page: Page) -> None:
    own_page.open("runs")
    assert own_page.browser.run("return document.querySelector('nav').innerText.split(/\\s+/)") == [
        "Runs",
        "Bots",
        "Resources",
        "Server",
    ]


VIEWS = (
    "runs",
    "run",
    "bots",
    "resources",
    "resource",
    "resources/new",
    "compare",
    "pair",
    "server",
)


def visit(page: Page, view: str) -> None:
    """Open a view with something in it."""
    patient = page.dev.call("GET", "resources/Patient")["rows"][0]["id"]
    run = page.dev.call("GET", "runs")["runs"][0]["id"]
    addresses = {
        "run": f"runs/{run}",
        "resource": f"resources/Patient/{patient}",
        "pair": f"compare/Patient/{patient}",
    }
    page.open(addresses.get(view, view))
    page.shows({"run": "Timeline", "resource": "History", "pair": "resourceType"}.get(view, r"\w"))


@pytest.fixture(scope="module")
def filled(page: Page) -> Page:
    """The page with a patient, and runs that succeeded and failed."""
    page.dev.call("POST", "resources", {"resourceType": "Patient", "name": [{"family": "Curie"}]})
    page.dev.send("hapi-sync-bot", {"no": "resource"})
    page.open("runs?status=failed")
    page.shows("Failed hapi-sync-bot")
    return page


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(view: str, filled: Page, node_modules: tuple[Path, Path]) -> None:
    """Names, roles, contrast of 4.5:1 and more, in light and dark, on a desktop and on a phone.

    https://github.com/dequelabs/axe-core/blob/develop/doc/rule-descriptions.md
    """
    axe = (node_modules[1] / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    visit(filled, view)
    for size, scheme in itertools.product((DESKTOP, PHONE), ("light", "dark")):
        filled.browser.resize(*size)
        filled.browser.prefer(scheme)
        run = "window.found = undefined; axe.run(document).then((found) => (window.found = found))"
        filled.browser.run(f"{axe};{run}")
        found = filled.browser.wait_for(
            """return window.found?.violations.map(({ id, help, nodes }) =>
                 `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`)""",
            lambda result: result is not None,
        )
        assert found == [], f"{scheme}, {size}"
        assert filled.browser.run("return window.found.passes.length") > 10


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_sticks_out_to_the_side(view: str, filled: Page) -> None:
    visit(filled, view)
    wider = """
        const width = document.documentElement.clientWidth;
        const scrolling = 'pre, table, textarea, .servers, .visually-hidden, .skip-link';
        const clipped = (e) => e.closest(scrolling);
        return [...document.querySelectorAll('main *, header *')]
          .filter((e) => e.getBoundingClientRect().right > width + 1 && !clipped(e))
          .map((e) => e.outerHTML.slice(0, 200))"""
    for size in (DESKTOP, PHONE):
        filled.browser.resize(*size)
        assert filled.browser.run(wider) == [], size
        page = "document.documentElement"
        assert filled.browser.run(f"return {page}.scrollWidth <= {page}.clientWidth"), size


def test_nothing_comes_from_the_network(filled: Page) -> None:
    filled.browser.resize(*DESKTOP)
    visit(filled, "run")
    loaded = filled.browser.run(
        "return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)"
    )
    assert set(loaded) <= {filled.browser.run("return location.origin")}


def test_the_code_of_the_page_is_typed(project: Path) -> None:
    done = template.run("npx", "tsc", "-p", "tools/src/page/client", cwd=project, check=False)
    assert done.returncode == 0, done.stdout
