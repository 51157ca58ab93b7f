"""The page of the local Medplum: a server that shows it, and a user's actions in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from threading import Thread
from typing import Any

from tests.support.browser import TAB, Browser

SHOWN = "return document.querySelector('main').innerText.replaceAll(/\\s+/g, ' ')"


class Dev:
    """`npm run dev` of a repository; it can be stopped and started again on the same port."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.port = 0
        self.start()

    def start(self) -> None:
        line = ["node", "tools/bin/medplum-bots.cjs", "dev", "--port", str(self.port)]
        if (self.project / "tools" / "src" / "fhir-server").exists():
            line += ["--fhir-port", "0"]
        self._process = subprocess.Popen(
            line, cwd=self.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        printed = ""
        for text in self._process.stdout:
            printed += text
            if text.startswith("Watching"):
                break
        address = re.search(r"http://localhost:(\d+)/", printed)
        assert address, printed
        self.port = int(address[1])
        self.address = address[0]
        # A full pipe would make the server wait for its reader.
        Thread(target=self._process.stdout.read, daemon=True).start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request of the page's own kind."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.address}_local/{path}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 -- loopback
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(
                f"{method} {path}: {error.code} {error.read().decode()}"
            ) from error

    def send(self, bot: str, event_input: object) -> str:
        """Send an event to a bot; return the run's id."""
        bots = {entry["name"]: entry["id"] for entry in self.call("GET", "bots")["bots"]}
        started = self.call("POST", f"bots/{bots[bot]}/send", {"input": event_input})
        return str(started["id"])


class Page:
    """The page in a browser, as a user handles it."""

    def __init__(self, browser: Browser, dev: Dev) -> None:
        self.browser = browser
        self.dev = dev

    def open(self, view: str) -> None:
        self.browser.open("about:blank")
        self.browser.open(f"{self.dev.address}#/{view}")
        self.wait_for_state("Live")

    def wait_for_state(self, wanted: str) -> None:
        script = "return document.getElementById('state')?.textContent"
        assert self.browser.wait_for(script, wanted.__eq__) == wanted

    def shows(self, pattern: str) -> str:
        """Wait until the view's text matches; return it."""
        text: str = self.browser.wait_for(
            SHOWN, lambda shown: re.search(pattern, shown) is not None
        )
        assert re.search(pattern, text), text
        return text

    def press(self, name: str, within: str = "main, dialog") -> None:
        """Click the button or link with this name."""
        script = f"""
            const name = (e) => e.getAttribute('aria-label') ?? e.textContent.trim();
            const all = [...document.querySelectorAll({json.dumps(within)})]
              .flatMap((part) => [...part.querySelectorAll('button, a')]);
            const found = all.find((e) => name(e) === {json.dumps(name)} && !e.disabled);
            found?.click();
            return Boolean(found)"""
        assert self.browser.wait_for(script), f"nothing to press is called {name}"

    def fill(self, label: str, text: str) -> None:
        """Replace the text of the field with this label."""
        script = f"""
            const wanted = {json.dumps(label)};
            const isWanted = (e) =>
              [...(e.labels ?? [])].some((l) => l.textContent.trim().startsWith(wanted));
            const field = [...document.querySelectorAll('input, textarea, select')].find(isWanted);
            if (!field) return false;
            field.value = {json.dumps(text)};
            field.dispatchEvent(new Event('input', {{ bubbles: true }}));
            field.dispatchEvent(new Event('change', {{ bubbles: true }}));
            return true"""
        assert self.browser.wait_for(script), f"no field is called {label}"

    def focused(self) -> str:
        """Return the name of the control that has the focus."""
        script = """
            const e = document.activeElement;
            return e.getAttribute('aria-label') ?? e.textContent.trim()"""
        return str(self.browser.run(script))

    def go_to(self, name: str) -> None:
        """Press Tab until the control with this name has the focus."""
        for _ in range(60):
            self.browser.press(TAB)
            if re.fullmatch(name, self.focused()):
                return
        raise AssertionError(f"no way to {name} by keyboard")
