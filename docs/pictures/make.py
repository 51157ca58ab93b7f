"""Takes the pictures of README.md from a generated repository with all examples (`make pictures`).

Terminal sessions run in a pseudo-terminal and are drawn by rich. Chromium shows the page. Needs
Linux or macOS, and Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.support import template
from tests.support.browser import Browser
from tests.support.local_page import Dev, Page
from tests.support.node import make_bin
from tests.support.packages import installed

HERE = Path(__file__).parent
COLUMNS = 110
# Calm colours on a light ground: readable on a white and on a black page.
THEME = TerminalTheme(
    (250, 250, 248),
    (40, 44, 52),
    [
        *((40, 44, 52), (180, 40, 40), (30, 125, 60), (160, 110, 0)),
        *((40, 90, 180), (140, 60, 150), (0, 120, 130), (120, 124, 132)),
    ],
)


def session(*line: str, cwd: Path) -> str:
    """Run a command in a terminal; return all it showed."""
    env = {
        **os.environ,
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "CI": "",
    }
    env.pop("NO_COLOR", None)
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        line, cwd=cwd, stdin=terminal, stdout=terminal, stderr=terminal, env=env
    )
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(controller, 65536):
            shown += part
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(controller)
    if process.wait() != 0:
        raise SystemExit(
            f"Error: {' '.join(line)} left with {process.returncode}\n{shown.decode()}"
        )
    return shown.decode()


def draw(name: str, title: str, shown: str) -> None:
    """Write an SVG of a terminal."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(Text.from_ansi(shown.replace("\r\n", "\n").strip("\n")))
    svg = console.export_svg(title=title, theme=THEME, unique_id=name)
    # rich names a font of a web site; a picture must not send requests.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code,", "")
    (HERE / f"{name}.svg").write_text(
        re.sub(r"[ \t]+\n", "\n", svg).rstrip() + "\n", encoding="utf-8"
    )


# Invented names for the people in a picture.
PATIENTS = [("Ada", "Lovelace"), ("Grace", "Hopper"), ("Florence", "Nightingale")]
WINDOW = (1400, 900)


def show_page(project: Path) -> None:
    """Write pictures of the local Medplum's page: a run with a fault, both servers compared."""
    dev = Dev(project)
    try:
        with Browser() as browser:
            browser.resize(*WINDOW)
            browser.prefer("light")
            page = Page(browser, dev)
            page.open("runs?status=succeeded")
            for number, (given, family) in enumerate(PATIENTS, 1):
                name = [{"given": [given], "family": family}]
                identifier = [{"system": "https://example.com/mrn", "value": f"MRN-{number}"}]
                patient = {"resourceType": "Patient", "name": name, "identifier": identifier}
                [reference] = dev.call("POST", "resources", patient)["created"]
                page.shows(f"^Runs {number} run")
            dev.send("hapi-sync-simple-bot", {"resourceType": "Patient"})
            dev.call("POST", "faults", {"kind": "503", "times": 2})
            resource = dev.call("GET", f"resources/{reference}")
            dev.call("PUT", f"resources/{reference}", {**resource, "birthDate": "1820-05-12"})
            page.shows(f"^Runs {len(PATIENTS) + 1} runs")
            page.open("runs")
            page.press("hapi-sync-bot")
            page.shows("Timeline.*503")
            (HERE / "page.png").write_bytes(browser.picture(*WINDOW))
            dev.call("POST", "faults", {"kind": "503"})
            resource = dev.call("GET", f"resources/{reference}")
            dev.call("PUT", f"resources/{reference}", {**resource, "gender": "female"})
            page.open("compare/Patient")
            page.shows("Different")
            page.press("Florence Nightingale")
            page.shows("- .gender")
            (HERE / "compare.png").write_bytes(browser.picture(WINDOW[0], 760))
    finally:
        dev.stop()


def main() -> None:
    """Generate a repository and take each picture of it."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        os.environ["PATH"] = f"{make_bin(here / 'bin')}{os.pathsep}{os.environ['PATH']}"
        project = template.bake(here)
        (project / "node_modules").symlink_to(installed(project))
        template.run("npm", "run", "build", cwd=project)
        draw("demo", "npm run demo", session("npm", "run", "--silent", "demo", cwd=project))
        show_page(project)


if __name__ == "__main__":
    main()
