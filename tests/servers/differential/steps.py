"""A request of a sequence, as data: it can be sent to any server, and kept in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One request.

    In `path`, `headers` and `body`, `${name}` stands for an id that an earlier step saved as
    `name`, `${name.v}` for its version, `${next}` for the address of the last search's next page.
    """

    kind: str  # what it is about, in words: differences are grouped by it
    method: str
    path: str  # without the address of the server
    body: Any = None  # a text is sent as it is, anything else as JSON
    headers: dict[str, str] = field(default_factory=dict)
    save: str = ""
    labels: tuple[str, ...] = ()  # of a Bundle: what each of its entries is about


def step_from_json(data: dict[str, Any]) -> Step:
    return Step(**{**data, "labels": tuple(data.get("labels", ()))})


def step_to_json(step: Step) -> dict[str, Any]:
    """Leave out what is empty."""
    members = {name: getattr(step, name) for name in step.__dataclass_fields__}
    always = ("kind", "method", "path")
    return {
        name: value
        for name, value in members.items()
        if name in always or value not in (None, "", {}, ())
    }
