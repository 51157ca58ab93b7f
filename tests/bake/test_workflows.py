"""Workflows of the template and of generated repositories follow GitHub's rules for security."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support import template

Baked = Callable[..., Path]
WORKFLOWS = Path(".github", "workflows")


def audit(repository: Path, tmp_path: Path, *options: str) -> None:
    """Let zizmor look for unpinned actions, injection, persistent credentials and broad rights."""
    shutil.copytree(repository / WORKFLOWS, tmp_path / WORKFLOWS)
    line = ("--offline", "--no-progress", "--no-config", "--strict-collection", *options, ".")
    done = template.run(template.command("zizmor"), *line, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout


def test_zizmor_accepts_the_templates_own(tmp_path: Path) -> None:
    audit(template.ROOT, tmp_path, "--pedantic")


def test_zizmor_accepts_those_of_a_generated_repository(baked: Baked, tmp_path: Path) -> None:
    audit(baked(), tmp_path)


@pytest.mark.parametrize("place", ["template", "generated repository"])
def test_no_checkout_leaves_credentials(place: str, baked: Baked) -> None:
    """A later step could read them. zizmor accepts `persist-credentials: true`."""
    repository = template.ROOT if place == "template" else baked()
    checkouts = 0
    for path in sorted((repository / WORKFLOWS).glob("*.yml")):
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False, path.name
                    checkouts += 1
    assert checkouts


def test_issue_forms_are_complete() -> None:
    folder = template.ROOT / ".github" / "ISSUE_TEMPLATE"
    for path in sorted(folder.glob("*.yml")):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name != "config.yml":
            assert {"name", "description", "body"} <= set(form), path.name
            assert any(field.get("validations", {}).get("required") for field in form["body"])
