"""Folders that several processes share: the first one that needs a folder makes it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def made_once(place: Path, make: Callable[[Path], object]) -> Path:
    """Return the folder at this place; if there is none, call `make` with the path of a new one."""
    with _alone(place):
        if not place.exists():
            unfinished = place.with_name(f"{place.name}.{os.getpid()}")
            shutil.rmtree(unfinished, ignore_errors=True)  # of an earlier call that failed
            make(unfinished)
            try:
                unfinished.rename(place)
            except OSError:  # Windows: another process was first
                shutil.rmtree(unfinished)
    return place


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Let other processes wait that want to make the same (not on Windows: there both do)."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
