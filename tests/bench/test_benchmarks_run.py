"""Each benchmark runs once, on its smallest size. What it measures is not tested.

The benchmarks themselves raise CommandError if their two sides end differently.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from benchmarks import NAMES
from benchmarks.measure import Row
from tests.support.hapi_server import HapiServer

WITH_HAPI = ("reconcile", "real_data")


@pytest.mark.xdist_group("benchmarks")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_HAPI])
def test_a_benchmark_runs(name: str, node: Path) -> None:
    check_rows(importlib.import_module(f"benchmarks.{name}").run("smallest"))


@pytest.mark.parametrize("name", WITH_HAPI)
def test_a_benchmark_on_hapi_runs(name: str, node: Path, hapi: HapiServer) -> None:
    hapi.empty("Patient")
    check_rows(importlib.import_module(f"benchmarks.{name}").run("smallest", hapi))


def check_rows(rows: list[Row]) -> None:
    assert rows
    for row in rows:
        assert row.what
        assert row.ours
    compared = [row for row in rows if row.against]
    assert all(row.theirs and row.ratio and row.ratio > 0 for row in compared)
    assert any(row.same for row in compared) or not compared, (
        "no row says what both sides ended with"
    )
