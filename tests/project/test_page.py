"""The local server's page in a real Chromium: everything by keyboard, live, with a name for each control."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import ENTER, TAB, Browser, missing

FOCUSED = (
    "const e = document.activeElement; return e.getAttribute('aria-label') ?? e.textContent.trim()"
)


@pytest.fixture(scope="module")
def window(project: Path) -> Iterator[tuple[Browser, str]]:
    """A browser, and the address of `npm run dev` with all example bots deployed."""
    lacking = missing()
    if lacking and not os.environ.get("CI"):
        pytest.skip(lacking)
    dev = subprocess.Popen(
        ["node", "tools/bin/medplum-bots.cjs", "dev", "--port", "0", "--fhir-port", "0"],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert dev.stdout is not None
        lines = []
        for line in dev.stdout:
            lines.append(line)
            if line.startswith("Watching"):
                break
        address = re.search(r"http://localhost:\d+/", "".join(lines))
        assert address, "".join(lines)
        with Browser() as browser:
            yield browser, address[0]
    finally:
        dev.terminate()
        dev.communicate()


@pytest.fixture
def page(window: tuple[Browser, str]) -> Browser:
    """The page, freshly opened and connected."""
    browser, address = window
    browser.open(address)
    assert (
        browser.wait_for("return document.getElementById('state').textContent", "live".__eq__)
        == "live"
    )
    return browser


def go_to(page: Browser, name: str) -> None:
    """Press Tab until the control with this name has the focus."""
    for _ in range(40):
        page.press(TAB)
        if re.fullmatch(name, page.run(FOCUSED) or ""):
            return
    pytest.fail(f"no way to {name} by keyboard")


def texts(page: Browser, table: str, good: str) -> str:
    """What a table shows, once that matches."""
    script = f"return document.getElementById('{table}').innerText.replaceAll(/\\s+/g, ' ').trim()"
    shown: str = page.wait_for(script, lambda text: re.search(good, text) is not None)
    assert re.search(good, shown), shown
    return shown


def test_a_patients_life_by_keyboard(page: Browser) -> None:
    texts(page, "bots", r"hapi-sync-bot .*hapi-sync-bot\.\w+\.cjs .*sync\b")
    go_to(page, "Create a patient")
    page.press(ENTER)
    inside = texts(page, "patients", "Change Delete")
    name = " ".join(inside.split()[:2])
    texts(page, "outside", name)
    go_to(page, "Change .*")
    page.press(ENTER)
    texts(page, "patients", f"{name} 1820-05-12")
    texts(page, "outside", f"{name} 1820-05-12")
    assert page.run(FOCUSED) == f"Change {name}", "the focus stays where it was"
    texts(page, "runs", "ran hapi-sync-bot update")
    go_to(page, "Delete .*")
    page.press(ENTER)
    texts(page, "patients", "Nobody yet")
    texts(page, "outside", "Nobody yet")


def test_faults_are_switched_on_and_off(page: Browser) -> None:
    texts(page, "faults", "All is well")
    page.run("document.getElementById('times').value = ''")  # all requests
    go_to(page, "Switch on")
    page.press(ENTER)
    texts(page, "faults", "On: 503")
    go_to(page, "Create a patient")
    page.press(ENTER)
    inside = texts(page, "patients", "Change Delete")
    texts(page, "outside", "Nobody yet")
    go_to(page, "Switch all off")
    page.press(ENTER)
    texts(page, "faults", "All is well")
    texts(page, "outside", " ".join(inside.split()[:2]))  # the bot tried again


def test_a_cron_bot_runs_on_demand(page: Browser) -> None:
    go_to(page, "Run hapi-reconcile-bot now")
    page.press(ENTER)
    texts(page, "runs", "hapi-reconcile-bot cron")


def test_every_control_and_table_has_a_name(page: Browser) -> None:
    nameless = page.run(
        """const label = (e) => e.ariaLabel || e.getAttribute('aria-labelledby') || e.labels?.length;
        const named = (e) => label(e) || e.innerText.trim();
        return [...document.querySelectorAll('button, select, table, section')].filter((e) => !named(e)).length"""
    )
    assert nameless == 0
    assert page.run("return document.documentElement.lang") == "en"


def test_nothing_comes_from_the_network(page: Browser) -> None:
    loaded = page.run(
        "return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)"
    )
    assert set(loaded) <= {page.run("return location.origin")}
