"""Each benchmark runs once, on its smallest size. What it measures is not tested.

The benchmarks themselves raise CommandError if their two sides end differently.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from benchmarks import NAMES
from tests.support import hapi_server


@pytest.mark.xdist_group("benchmarks")
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs(name: str, node: Path) -> None:
    if name in ("reconcile", "real_data") and (lacking := hapi_server.missing()):
        pytest.skip(lacking)
    rows = importlib.import_module(f"benchmarks.{name}").run("smallest")
    assert rows
    for row in rows:
        assert row.what
        assert row.ours
    compared = [row for row in rows if row.against]
    assert all(row.theirs and row.ratio and row.ratio > 0 for row in compared)
    assert any(row.same for row in compared) or not compared, (
        "no row says what both sides ended with"
    )
