"""Temporary folders in memory, on Linux machines that have enough of it.

The tests make and remove hundreds of thousands of small files. On a disk, half of the processor
time of tests/update went into that.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- pytest makes a folder in it that is the user's own
NEEDED_BYTES = 4 * 2**30  # several times what the tests take


def use_memory() -> None:
    """Let this process and pytest make temporary folders in memory, if there is enough."""
    if "TMPDIR" not in os.environ and _is_suitable():
        tempfile.tempdir = str(SHARED_MEMORY)


def _is_suitable() -> bool:
    """Tests start programs there, which some systems do not allow."""
    if not SHARED_MEMORY.is_dir() or os.name != "posix":
        return False
    system = os.statvfs(SHARED_MEMORY)
    return (
        system.f_bavail * system.f_frsize >= NEEDED_BYTES
        and not system.f_flag & getattr(os, "ST_NOEXEC", 0)
        and os.access(SHARED_MEMORY, os.W_OK)
    )
