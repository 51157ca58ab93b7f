"""A generated repository works: it builds, tests, lints, is formatted, and its demo runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bake.test_hostile import PROSE
from tests.support import template

NewProject = Callable[..., Path]
HOSTILE = {name: value for name, value in PROSE.items() if name not in template.QUIET}
ANSWERS: dict[str, dict[str, Any]] = {
    "all": {},
    "both": HOSTILE,
    "hapi-sync": {"bot_runtime": "vmcontext"},
    "hapi-sync-simple": {"ci_provider": "none", "license": "none"},
    "none": {"ci_provider": "gitlab", "failure_alerts": "failure-alert-bot"},
}


def npm(*arguments: str, cwd: Path, check: bool = True) -> str:
    done = template.run("npm", *arguments, cwd=cwd, check=check)
    return plain(done.stdout + done.stderr)


def bundle(project: Path) -> None:
    """Build the bots without what `npm run build` checks before it."""
    template.run("node", "esbuild-script.mjs", cwd=project)


def plain(text: str) -> str:
    """Take the colours out: where CI is set, some tools write them in spite of NO_COLOR."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def own_files(project: Path, other: Path) -> list[str]:
    """Return the files of a repository that another one lacks, or has with other content."""
    others = template.files(other)
    return [
        path for path, content in template.files(project).items() if others.get(path) != content
    ]


@pytest.mark.parametrize("example_bots", template.QUESTIONS["example_bots"])
def test_it_builds_and_its_tests_pass(
    example_bots: str, new_project: NewProject, baked: Callable[..., Path]
) -> None:
    project = new_project(**{**ANSWERS[example_bots], "example_bots": example_bots})
    if example_bots == "both":  # in a folder whose name needs care, too
        project = project.rename(project.with_name("Ordner für Bots 💉"))
    before = template.files(project)
    npm("run", "build", cwd=project)
    manifest = json.loads((project / "dist" / "manifest.json").read_text())
    bots = json.loads((project / "medplum.config.json").read_text())["bots"]
    assert set(manifest["bots"]) == {bot["name"] for bot in bots}
    assert all((project / bot["dist"]).stat().st_size > 100 for bot in bots)
    shown = npm("test", cwd=project)
    assert re.search(r"Tests .*\d+ passed", shown), shown
    assert template.files(project) == before, "building or testing changed a file"
    # With all default answers every file is checked, and with others what differs.
    files = ["."] if example_bots == "all" else own_files(project, baked())
    npm("exec", "--", "prettier", "--check", "--ignore-unknown", *files, cwd=project)


def test_the_linter_finds_nothing(project: Path) -> None:
    """In tools/ and scripts/ too, which `npm run build` does not check; warnings count as well."""
    # Other tests put the tools' tests into the same project.
    others = ("--ignore-pattern", "tooling-tests")
    npm("run", "lint", "--", "--deny-warnings", *others, cwd=project)


@pytest.mark.parametrize("answers", [{}, HOSTILE], ids=["plain", "hostile"])
def test_npm_would_not_change_the_lock_file(
    answers: dict[str, Any], new_project: NewProject
) -> None:
    project = new_project(**answers)
    before = (project / "package-lock.json").read_bytes()
    npm("install", "--package-lock-only", "--offline", "--ignore-scripts", cwd=project)
    assert (project / "package-lock.json").read_bytes() == before


def test_fewer_than_sixty_packages_are_installed(project: Path) -> None:
    lock = json.loads((project / "node_modules" / ".package-lock.json").read_text(encoding="utf-8"))
    installed = [path for path, package in lock["packages"].items() if not package.get("link")]
    packages = [path for path in installed if path.startswith("node_modules/")]
    assert len(packages) < 60, packages


def test_building_style_sheets_says_what_is_missing(new_project: NewProject) -> None:
    project = new_project(example_bots="none")
    for name, text in {
        "index.html": '<link rel="stylesheet" href="./page.css">',
        "page.css": "body { color: teal }",
    }.items():
        (project / "website" / name).parent.mkdir(exist_ok=True)
        (project / "website" / name).write_text(text)
    done = template.run("npx", "vite", "build", "website", cwd=project, check=False)
    assert done.returncode == 1
    assert "Delete tools/replacements/lightningcss and run npm install" in plain(done.stderr)


def test_the_build_names_what_to_use_instead(new_project: NewProject) -> None:
    """What vmcontext lacks is an error that names the replacement; the other bots are built."""
    project = new_project(example_bots="none")
    (project / "src" / "shared" / "late.ts").write_text(
        """// What does not work on vmcontext.
export function late(error: unknown): string {
  setTimeout(() => undefined, 1);
  console.error(error);
  return Buffer.from('x').toString('base64');
}
"""
    )
    (project / "src" / "bots" / "late-bot.ts").write_text(
        """import { late } from '../shared/late.ts';
export const handler = (): object => ({ text: late(1) });
"""
    )
    config = json.loads((project / "medplum.config.json").read_text())
    others = [bot["name"] for bot in config["bots"]]
    source = {"name": "late-bot", "source": "src/bots/late-bot.ts", "dist": "dist/bots/late-bot.js"}
    config["bots"].append({**source, "runtimeVersion": "vmcontext"})
    (project / "medplum.config.json").write_text(json.dumps(config))
    done = template.run("npm", "run", "build", cwd=project, check=False)
    shown = plain(done.stdout + done.stderr)
    assert done.returncode == 1
    for line, instead in ((3, "node:timers/promises"), (4, "console.log"), (5, "node:buffer")):
        (found,) = [
            text
            for text in shown.splitlines()
            if re.search(rf"Error: src/shared/late\.ts:{line}:", text)
        ]
        assert instead in found
    manifest = json.loads((project / "dist" / "manifest.json").read_text())
    assert list(manifest["bots"]) == others
    assert list(manifest["failed"]) == ["late-bot"]


def test_a_forgotten_bot_is_named(new_project: NewProject) -> None:
    project = new_project(example_bots="none")
    (project / "src" / "bots" / "stray-bot.ts").write_text("export const handler = 1;\n")
    done = template.run("npm", "run", "build", cwd=project, check=False)
    assert done.returncode == 1
    assert (
        "src/bots/stray-bot.ts exports a handler and is not in medplum.config.json" in done.stderr
    )
    assert "stray-bot" not in (project / "dist" / "manifest.json").read_text()


@pytest.mark.parametrize("example_bots", ["all", "hapi-sync-simple", "none"])
def test_the_demo_ends_well(example_bots: str, new_project: NewProject) -> None:
    project = new_project(example_bots=example_bots)
    bundle(project)
    if example_bots == "none":  # from elsewhere, where `npm run dev` would fail
        shown = npm("--prefix", project.name, "run", "demo", cwd=project.parent)
        assert "Next: " not in shown
    else:
        shown = npm("run", "demo", cwd=project)
        assert "Next: npm run dev, and change a file in src/.\n" in shown
    for step in ("A patient is created in Medplum", "She gets a birth date", "She is deleted"):
        assert step in shown


def test_the_demo_fails_when_the_external_server_ends_wrong(new_project: NewProject) -> None:
    project = new_project(example_bots="hapi-sync")
    bundle(project)
    bot = project / "dist" / "bots" / "hapi-sync-bot.js"
    bot.write_text("exports.handler = async () => ({ status: 'nothing done' });\n")
    manifest = project / "dist" / "manifest.json"
    done = template.run("npm", "run", "demo", cwd=project, check=False)
    assert manifest.exists()
    assert done.returncode == 1


def test_a_new_bot_passes_everything_at_once(
    new_project: NewProject, baked: Callable[..., Path]
) -> None:
    project = new_project(example_bots="none")
    npm("run", "new:bot", "--", "greeter-bot", "--on", "Patient:create,update", cwd=project)
    npm("run", "build", cwd=project)
    npm("test", cwd=project)
    changed = own_files(project, baked(example_bots="none"))
    assert "src/bots/greeter-bot.ts" in changed
    npm("exec", "--", "prettier", "--check", *changed, cwd=project)
    names = [
        bot["name"] for bot in json.loads((project / "medplum.config.json").read_text())["bots"]
    ]
    assert names == ["hello-patient-bot", "hello-appointment-bot", "greeter-bot"]
