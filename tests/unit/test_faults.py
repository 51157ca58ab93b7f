"""The list of faults (maintenance/faults.py) fits the files that it changes."""

from __future__ import annotations

import pytest

from maintenance.faults import FAULTS, Fault
from maintenance.try_faults import with_fault
from tests.support import template


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_fault_can_be_put_in(fault: Fault) -> None:
    text = (template.ROOT / fault.path).read_text(encoding="utf-8")
    assert with_fault(text, fault) != text
    assert (template.ROOT / fault.caught_by).is_file()


def test_no_fault_is_listed_twice() -> None:
    descriptions = [fault.what for fault in FAULTS]
    assert len(descriptions) == len(set(descriptions))
    assert len(descriptions) > 60
