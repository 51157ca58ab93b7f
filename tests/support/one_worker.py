"""Runs tests that share something slow on one worker (`--dist loadgroup`), which makes it once."""

from __future__ import annotations

import pytest

SLOW_FIXTURES = (
    "hapi",  # a Java server; the tests also share its data
    "page",  # a server, and a browser
    "own_page",  # the same for another repository
)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in SLOW_FIXTURES:
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(name))
