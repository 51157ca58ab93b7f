"""A real Chromium, driven over the WebDriver protocol by plain HTTP.

Needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

# No sandbox, because containers do not allow one. No background requests, no files left behind.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# https://www.w3.org/TR/webdriver2/#keyboard-actions
TAB, ENTER = "\ue004", "\ue007"
PATIENCE_S = 30


def missing() -> str | None:
    """Say what this machine lacks; None if it lacks nothing."""
    lacking = [tool for tool in ("chromium", "chromedriver") if not shutil.which(tool)]
    return (
        f"the page is tested in a real Chromium: no {' and no '.join(lacking)} on PATH"
        if lacking
        else None
    )


class Browser:
    """One window. Use it as a context manager."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
        )
        assert self._driver.stdout is not None
        found = (re.search(r"successfully on port (\d+)", line) for line in self._driver.stdout)
        self._url = f"http://127.0.0.1:{next(match[1] for match in found if match)}/session"
        arguments = [*FLAGS, f"--user-data-dir={Path(self._profile.name)}"]
        options = {"binary": shutil.which("chromium"), "args": arguments}
        capabilities = {"browserName": "chrome", "goog:chromeOptions": options}
        self._url += (
            "/"
            + self._send("POST", "", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        )
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._send("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.communicate()
            self._profile.cleanup()

    def open(self, address: str) -> None:
        self._send("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page; return what it returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": arguments})

    def press(self, *keys: str) -> None:
        presses = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._send(
            "POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": presses}]}
        )

    def wait_for(self, script: str, good: Callable[[Any], bool] = bool) -> Any:
        """Run a script until its result is good; return the last result for the test to judge."""
        end = time.monotonic() + PATIENCE_S
        while not good(result := self.run(script)) and time.monotonic() < end:
            time.sleep(0.05)
        return result

    def resize(self, width: int, height: int) -> None:
        """Show the page as on a screen of this size; a window cannot be as narrow as a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, colour_scheme: str) -> None:
        """Show the page as where the system is set to `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": colour_scheme}]
        self._devtools("Emulation.setEmulatedMedia", {"features": features})

    def picture(self, width: int, height: int) -> bytes:
        """Return what the page shows on a screen of this size, as PNG."""
        self.resize(width, height)
        return base64.b64decode(self._send("GET", "/screenshot"))

    def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        """https://chromedevtools.github.io/devtools-protocol/"""
        self._send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _send(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 -- loopback
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return json.load(response)["value"]
