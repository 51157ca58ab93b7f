"""Every test here runs Node."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def with_node(node: Path) -> None:
    """Put Node on PATH before anything else."""
