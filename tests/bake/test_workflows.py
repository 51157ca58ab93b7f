"""Workflows of the template and of generated repositories follow GitHub's rules for security."""

from __future__ import annotations

import os
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
    shutil.copytree(repository / ".github", tmp_path / ".github")
    line = ("--offline", "--no-progress", "--no-config", "--strict-collection", *options, ".")
    done = template.run(template.command("zizmor"), *line, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout


def test_zizmor_accepts_the_templates_own(tmp_path: Path) -> None:
    audit(template.ROOT, tmp_path, "--pedantic")


def test_zizmor_accepts_those_of_a_generated_repository(baked: Baked, tmp_path: Path) -> None:
    # Of a person who wants to know everything, without what is only information.
    audit(baked(), tmp_path, "--pedantic", "--min-severity", "low")


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


@pytest.mark.skipif(os.name == "nt", reason="the step and its programs are POSIX ones")
@pytest.mark.parametrize("state", ["OPEN", "MERGED"])
def test_the_pull_request_with_new_pins_is_one_that_github_accepts(
    state: str, tmp_path: Path
) -> None:
    """GitHub refuses a push of a workflow's token that changes .github/workflows."""
    workflow = template.ROOT / WORKFLOWS / "pins.yml"
    steps = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]["update"]["steps"]
    remote, clone = tmp_path / "remote.git", tmp_path / "clone"
    template.git("init", "--quiet", "--bare", remote, cwd=tmp_path)
    hook = "while read old new name; do ! git diff --name-only main $new | grep ^.github/; done"
    for program, script in (
        (remote / "hooks" / "pre-receive", f"git rev-parse -q --verify main || exit 0; {hook}"),
        (tmp_path / "bin" / "gh", f'echo "$@" >>../calls; [ "$2" != view ] || echo {state}'),
    ):
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    (clone / WORKFLOWS).mkdir(parents=True)
    for path in (WORKFLOWS / "ci.yml", Path("requirements.txt")):
        (clone / path).write_text("old\n")
    template.commit_all(clone, "First")
    template.git("remote", "add", "origin", remote, cwd=clone)
    template.git("push", "--quiet", "origin", "main", cwd=clone)
    env = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    step = ("bash", "-e", "-c", steps[-1]["run"])
    assert "Every pin is the newest" in template.run(*step, cwd=clone, env=env).stdout
    for path in (WORKFLOWS / "ci.yml", Path("requirements.txt")):
        (clone / path).write_text("new\n")
    template.run(*step, cwd=clone, env=env)
    changed = template.git("diff", "--name-only", "main", "pins", cwd=remote)
    assert changed == "requirements.txt\n"
    assert ("pr create" in (tmp_path / "calls").read_text()) == (state == "MERGED")


def test_issue_forms_are_complete() -> None:
    folder = template.ROOT / ".github" / "ISSUE_TEMPLATE"
    for path in sorted(folder.glob("*.yml")):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name != "config.yml":
            assert {"name", "description", "body"} <= set(form), path.name
            assert any(field.get("validations", {}).get("required") for field in form["body"])
