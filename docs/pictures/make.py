"""`make pictures`: takes the README's pictures of the real thing, a generated repository with all examples.

Terminal sessions run in a pseudo-terminal and are drawn by rich; the page is shown by Chromium. Needs Linux or macOS,
and Debian's chromium and chromium-driver.
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
from tests.support.local_servers import wait_for_addresses
from tests.support.node import make_bin
from tests.support.projects import installed

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
    ours, its = pty.openpty()
    process = subprocess.Popen(line, cwd=cwd, stdin=its, stdout=its, stderr=its, env=env)
    os.close(its)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
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
    # rich names a font of a web site; a picture asks nobody for anything.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code,", "")
    (HERE / f"{name}.svg").write_text(
        re.sub(r"[ \t]+\n", "\n", svg).rstrip() + "\n", encoding="utf-8"
    )


def show_page(project: Path) -> None:
    """Write a picture of the local server's page, after some patients have come and one has gone."""
    dev = subprocess.Popen(
        ["node", "tools/bin/medplum-bots.cjs", "dev", "--port", "0", "--fhir-port", "0"],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = wait_for_addresses(dev)["MEDPLUM_BASE_URL"]
        assert dev.stdout
        next(line for line in dev.stdout if line.startswith("Watching"))
        with Browser() as browser:
            browser.open(address)
            rows = "return document.querySelectorAll('#outside tr').length"
            for count in (1, 2, 3):
                browser.run("document.getElementById('create').click()")
                browser.wait_for(
                    "return document.querySelectorAll('#patients tr').length", count.__eq__
                )
                browser.wait_for(rows, count.__eq__)
            buttons = "[...document.querySelectorAll('#patients button')].filter((e) => e.innerText === arguments[0])"
            browser.run(f"{buttons}.at(0).click()", "Change")
            browser.run(f"{buttons}.at(-1).click()", "Delete")
            browser.wait_for(rows, (2).__eq__)
            runs = browser.wait_for(
                "return document.getElementById('runs').innerText",
                lambda text: "update" in text and "delete" in text,
            )
            assert "threw" not in runs
            browser.run("document.documentElement.style.overflow = 'hidden'")
            browser.run(
                "document.querySelectorAll('#runs summary').forEach((e, at) => at < 2 && e.click())"
            )
            (HERE / "page.png").write_bytes(browser.picture(1180, 1080))
    finally:
        dev.terminate()
        dev.communicate()


def main() -> None:
    """Generate a repository and take each picture of it."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        os.environ["PATH"] = f"{make_bin(here / 'bin')}{os.pathsep}{os.environ['PATH']}"
        project = template.bake(here)
        (project / "node_modules").symlink_to(
            installed(project, template.run("node", "--version", cwd=here).stdout)
        )
        template.run("npm", "run", "build", cwd=project)
        draw("demo", "npm run demo", session("npm", "run", "--silent", "demo", cwd=project))
        show_page(project)


if __name__ == "__main__":
    main()
