"""Measures command lines: time, memory, two sides in turns, and the row for the result."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Size = Literal["smallest", "full"]
"""`smallest` only shows that a benchmark still runs; RESULTS.md is written from `full`."""

ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """One measurement, as one line of a table of RESULTS.md."""

    what: str
    against: str
    ours: str
    theirs: str = ""
    ratio: float | None = None
    """Ours by theirs; None where nothing is compared."""
    goal: str = ""
    met: bool | None = None
    """None where there is no goal."""
    growth: str = ""
    """How the cost grows from 2 to 1,000 bots, and why."""
    same: str = ""
    """What was compared after the last round: both sides ended with the same."""


@dataclass(frozen=True)
class Done:
    """A command line that has ended."""

    seconds: float
    megabytes: float
    """The largest that one of its processes grew (resident)."""
    output: str
    """Standard output and standard error, as they came."""


class CommandError(RuntimeError):
    """A command line of a benchmark left with another exit code than was expected."""


def execute(
    *line: str | Path, cwd: Path, env: Mapping[str, str] | None = None, codes: Sequence[int] = (0,)
) -> Done:
    """Run a command line and wait for it.

    Raises:
        CommandError: it left with an exit code that is not one of `codes`.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in line],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if process.returncode not in codes:
        raise CommandError(
            f"{' '.join(map(str, line))} left with {process.returncode}:\n{text[-4000:]}"
        )
    return Done(seconds, _megabytes(usage), text)


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: `act` is timed, `prepare` before it is not."""

    act: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Paired:
    """Seconds of each round of both sides."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: other load affects both sides of a round."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.ours), statistics.median(self.theirs)

    @property
    def texts(self) -> tuple[str, str]:
        return seconds(self.ours), seconds(self.theirs)


def seconds(values: Sequence[float]) -> str:
    """Median and spread: `1.23 s (1.20 to 1.31)`."""
    middle = statistics.median(values)
    digits = 2 if middle >= 1 else 3
    spread = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{middle:.{digits}f} s{spread}"


def in_turns(ours: Side, theirs: Side, rounds: int) -> Paired:
    """Run both sides in turns: A B A B …

    The first round warms caches. It only counts if it is the only one.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for round_ in range(rounds if rounds == 1 else rounds + 1):
        for side, taken in zip((ours, theirs), times, strict=True):
            side.prepare()
            started = time.perf_counter()
            side.act()
            if round_ > 0 or rounds == 1:
                taken.append(time.perf_counter() - started)
    return Paired(*times)


def compare(
    what: str,
    against: str,
    paired: Paired,
    at_most: float | None,
    *,
    growth: str = "",
    same: str = "",
) -> Row:
    """Write down a comparison whose goal is a ratio of at most `at_most`."""
    ours, theirs = paired.texts
    goal, met = (
        ("", None) if at_most is None else (f"at most {at_most:g}x", paired.ratio <= at_most)
    )
    return Row(what, against, ours, theirs, paired.ratio, goal, met, growth, same)


def wait_until(
    condition: Callable[[], bool], what: str, seconds: float = 120.0, every: float = 0.005
) -> float:
    """Wait for a condition; return the seconds it took."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds:
            raise CommandError(f"{what} did not happen within {seconds:g} s")
        time.sleep(every)
    return time.perf_counter() - started


def folder_bytes(folder: Path) -> int:
    """The sizes of all files in a folder; links are not followed."""
    sizes = (
        entry.stat(follow_symlinks=False).st_size
        for where, _, _ in os.walk(folder)
        for entry in os.scandir(where)
        if entry.is_file(follow_symlinks=False)
    )
    return sum(sizes)


def same_or_fail(what: str, ours: object, theirs: object) -> str:
    """Refuse to compare the cost of two different results; return what was found the same."""
    if ours != theirs:
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            different = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
            raise CommandError(
                f"the two sides did not end with the same {what}; different: {different}"
            )
        raise CommandError(f"the two sides did not end with the same {what}: {ours!r}, {theirs!r}")
    return what
