"""Measures `npm ci` of a generated repository and of the official starter: time and disk space."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.measure import (
    ROUNDS,
    CommandError,
    Row,
    Side,
    Size,
    compare,
    execute,
    folder_bytes,
    in_turns,
    same_or_fail,
)
from benchmarks.projects import BASELINE, copy_manifests, generate, scratch

GROWTH = "none: bots add no packages."


def packages(folder: Path) -> int:
    """How many packages npm installed, as its own record in node_modules says.

    What lies in folders of the repository itself (workspaces) is not counted.
    """
    record = json.loads(
        (folder / "node_modules" / ".package-lock.json").read_text(encoding="utf-8")
    )
    return sum(
        path.startswith("node_modules/") and not entry.get("link")
        for path, entry in record["packages"].items()
    )


def require_complete(folder: Path) -> None:
    """Refuse to compare an installation that lacks something the lock file asks for."""
    execute("npm", "ls", "--all", cwd=folder)
    for name in json.loads((folder / "package.json").read_text(encoding="utf-8"))[
        "devDependencies"
    ]:
        if not (folder / "node_modules" / name / "package.json").exists():
            raise CommandError(f"npm ci did not install {name}")


def run(size: Size) -> list[Row]:
    with scratch() as work:
        ours, theirs = work / "packages", work / "starter"
        copy_manifests(generate(work), ours)
        copy_manifests(BASELINE, theirs)

        def side(folder: Path, *options: str) -> Side:
            return Side(
                lambda: execute("npm", "ci", *options, cwd=folder),
                lambda: shutil.rmtree(folder / "node_modules", ignore_errors=True),
            )

        if size == "smallest":  # reads both lock files, and downloads nothing
            times = in_turns(side(ours, "--dry-run"), side(theirs, "--dry-run"), rounds=1)
            same = same_or_fail(
                "nothing installed",
                *((folder / "node_modules").exists() for folder in (ours, theirs)),
            )
            return [compare("npm ci --dry-run", "the official starter", times, None, same=same)]

        warm = in_turns(side(ours, "--prefer-offline"), side(theirs, "--prefer-offline"), ROUNDS)
        cache = f"--cache={work / 'cache'}"

        def cold(folder: Path) -> Side:
            def prepare() -> None:
                shutil.rmtree(folder / "node_modules", ignore_errors=True)
                shutil.rmtree(work / "cache", ignore_errors=True)

            return Side(lambda: execute("npm", "ci", cache, cwd=folder), prepare)

        clean = in_turns(cold(ours), cold(theirs), ROUNDS)
        require_complete(ours)
        require_complete(theirs)
        counts = packages(ours), packages(theirs)
        sizes = (
            folder_bytes(ours / "node_modules") / 1e6,
            folder_bytes(theirs / "node_modules") / 1e6,
        )
    starter = "the official starter"
    return [
        compare("npm ci, packages in npm's cache", starter, warm, 0.4, growth=GROWTH),
        compare("npm ci, nothing cached", starter, clean, 0.4, growth=GROWTH),
        share("packages", counts, 0.25, "{:.0f}"),
        share("megabytes on the disk", sizes, 0.5, "{:.0f} MB"),
    ]


def share(what: str, values: tuple[float, float], at_most: float, form: str) -> Row:
    ours, theirs = values
    ratio = ours / theirs
    goal = f"at most {at_most:g}x"
    met = ratio <= at_most
    return Row(
        what,
        "the official starter",
        form.format(ours),
        form.format(theirs),
        ratio,
        goal,
        met,
        GROWTH,
    )
