"""RESULTS.md: each benchmark's tables between two markers, the prose around them by hand."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Row

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = "| what | against | ours | theirs | ratio | goal | met |\n|---|---|---|---|---|---|---|\n"


def table(rows: Sequence[Row]) -> str:
    """Markdown: the table, then what is the same on both sides and how each cost grows."""
    lines = [
        f"| {row.what} | {row.against} | {row.ours} | {row.theirs} "
        f"| {_ratio(row)} | {row.goal} | {_met(row)} |"
        for row in rows
    ]
    same = "; ".join(dict.fromkeys(row.same for row in rows if row.same))
    growing: dict[str, list[str]] = {}
    for row in rows:
        growing.setdefault(row.growth, []).append(row.what)
    growth = [f"- {'; '.join(what)}: {why}" for why, what in growing.items() if why]
    parts = [HEAD + "\n".join(lines)]
    if same:
        parts.append(f"The same on both sides: {same}.")
    if growth:
        parts.append(
            "How each cost grows with the number of bots, and why:\n\n" + "\n".join(growth)
        )
    return "\n\n".join(parts)


def _ratio(row: Row) -> str:
    return "" if row.ratio is None else f"{row.ratio:.2f}x"


def _met(row: Row) -> str:
    return {True: "yes", False: "**no**", None: ""}[row.met]


def machine() -> str:
    """One line: when, on what, with which versions."""

    def said(*line: str) -> str:
        return (
            subprocess.run(line, capture_output=True, text=True, check=True)
            .stdout.strip()
            .removeprefix("v")
        )

    model = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    return ", ".join(
        [
            datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%d"),
            f"{os.cpu_count()} cores {model[1] if model else platform.processor()}",
            f"{round(int(memory[1]) / 2**20)} GiB" if memory else "memory unknown",
            f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
            f"load {os.getloadavg()[0]:.1f} at the start",
            f"Python {platform.python_version()}",
            f"cookiecutter {importlib.metadata.version('cookiecutter')}",
            f"Node {said('node', '--version')}",
            f"npm {said('npm', '--version')}",
        ]
    )


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def put(name: str, where: str, rows: Sequence[Row]) -> None:
    """Replace the section of one benchmark in RESULTS.md, or add it at the end."""
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    section = f"{begin}\n_{where}_\n\n{table(rows)}\n{end}"
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Measurements\n"
    old = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if old.search(text):
        text = old.sub(lambda _: section, text)
    else:
        text = f"{text.rstrip()}\n\n## {name.replace('_', ' ').capitalize()}\n\n{section}\n"
    RESULTS.write_text(text, encoding="utf-8", newline="\n")
