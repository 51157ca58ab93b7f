"""Measures `npm run build` and bundling alone.

The build is compared with the recipe of guides: ESLint with types, tsc 6, one esbuild call per bot.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.measure import (
    ROUNDS,
    Paired,
    Row,
    Side,
    Size,
    compare,
    execute,
    in_turns,
    same_or_fail,
)
from benchmarks.projects import generated, scratch, starter

GOALS = {2: 0.25, 100: None, 1000: 0.2}
RECIPE = "eslint (typed), tsc 6, one esbuild call a bot"
WHOLE = (
    "linear after the start: each bot is parsed, linted, checked and written once, by one process "
    "for each step."
)
BUNDLING = (
    "linear after the start: esbuild reads shared code once for all bots; then each is read back "
    "for its hash."
)


def bundles(project: Path) -> dict[str, bytes]:
    """Return the bundles that a build wrote, by name."""
    return {file.name: file.read_bytes() for file in (project / "dist" / "bots").glob("*.js")}


def build_with(bots: int, rounds: int) -> tuple[Paired, Paired, str]:
    """Measure the whole build, and bundling alone, with this many bots."""
    with scratch() as work:
        ours = generated(work, bots)
        theirs = starter(work, ours)
        whole = in_turns(
            Side(lambda: execute("npm", "run", "build", cwd=ours)),
            Side(lambda: execute("npm", "run", "build", cwd=theirs)),
            rounds,
        )
        same = same_or_fail("bundles, byte for byte", bundles(ours), bundles(theirs))
        bundling = in_turns(
            Side(lambda: execute("node", "esbuild-script.mjs", cwd=ours)),
            Side(lambda: execute("node", "bare-esbuild.mjs", cwd=theirs)),
            rounds,
        )
        same_or_fail(same, bundles(ours), bundles(theirs))
    return whole, bundling, same


def run(size: Size) -> list[Row]:
    if size == "smallest":
        whole, bundling, same = build_with(2, rounds=1)
        return [
            compare("npm run build, 2 bots", RECIPE, whole, None, same=same),
            compare("bundling alone, 2 bots", "one bare esbuild call", bundling, None),
        ]
    measured = {bots: build_with(bots, ROUNDS) for bots in GOALS}
    rows = []
    for bots, (whole, _, same) in measured.items():
        rows.append(
            compare(
                f"npm run build, {bots:,} bots", RECIPE, whole, GOALS[bots], growth=WHOLE, same=same
            )
        )
    for bots, (_, bundling, _) in measured.items():
        goal = 1.15 if bots == 1000 else None
        rows.append(
            compare(
                f"bundling alone, {bots:,} bots",
                "one bare esbuild call",
                bundling,
                goal,
                growth=BUNDLING,
            )
        )
    (few, _, _), (many, _, _) = measured[2], measured[1000]
    ours, theirs = (
        1000 * (median(b) - median(a)) / 998
        for a, b in ((few.ours, many.ours), (few.theirs, many.theirs))
    )
    further = Row(
        "each further bot",
        RECIPE,
        f"{ours:.1f} ms",
        f"{theirs:.1f} ms",
        ours / theirs,
        growth=WHOLE,
    )
    return [*rows, further]
