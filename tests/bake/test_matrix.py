"""Every combination of answers, baked once: exactly the right files, each of them well formed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_cookies.plugin import Cookies

from template_extensions import VERSION
from tests.support import template
from tests.support.faster_bakes import hooks_in_this_process

Bakes = list[tuple[dict[str, str], Path, dict[str, bytes]]]

OVERLAYS_OF = {
    "example_bots": {
        "all": {"hapi-sync-common", "hapi-sync-bot", "hapi-sync-simple-bot", "hapi-reconcile-bot"},
        "both": {"hapi-sync-common", "hapi-sync-bot", "hapi-sync-simple-bot"},
        "hapi-sync": {"hapi-sync-common", "hapi-sync-bot"},
        "hapi-sync-simple": {"hapi-sync-common", "hapi-sync-simple-bot"},
        "none": {"hello-patient-bot"},
    },
    "failure_alerts": {"none": set(), "failure-alert-bot": {"failure-alert-bot"}},
    "ci_provider": {"github": {"ci-github"}, "gitlab": {"ci-gitlab"}, "none": set()},
    "license": {"Apache-2.0": {"license-apache"}, "MIT": {"license-mit"}, "none": {"license-none"}},
}
OVERLAYS = template.SOURCE / ".overlays"
OVERLAY_NAMES = sorted(path.parent.name for path in OVERLAYS.glob("*/overlay.json"))
MANIFEST = "tools/template.json"
COMMAND_LINE = "tools/bin/medplum-bots.cjs"
# The ending of the only files that are not text.
DATA = ".gz"


def share(example_bots: str) -> Any:
    """A part of the matrix, for one worker, so that each combination is baked once."""
    return pytest.param(example_bots, marks=pytest.mark.xdist_group(f"matrix-{example_bots}"))


@pytest.fixture(
    scope="module", params=[share(choice) for choice in template.QUESTIONS["example_bots"]]
)
def bakes(request: pytest.FixtureRequest, cookies_session: Cookies) -> Bakes:
    made: Bakes = []
    with hooks_in_this_process():
        for answers in template.matrix():
            if answers["example_bots"] == request.param:
                project = template.bake_with(cookies_session, **answers)
                made.append((answers, project, template.files(project)))
    assert len(made) == 2 * 3 * 3
    return made


def different(bakes: Bakes) -> dict[tuple[str, bytes], dict[str, str]]:
    """Each different file of all bakes once, with the answers that made it."""
    return {
        (path, content): answers for answers, _, files in bakes for path, content in files.items()
    }


def overlay_files(name: str) -> dict[str, Path]:
    folder = OVERLAYS / name / "files"
    return {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }


def base_files() -> dict[str, Path]:
    inside = template.SOURCE.name + "/"
    paths = [
        path.removeprefix(inside) for path in template.template_files() if path.startswith(inside)
    ]
    return {path: template.SOURCE / path for path in paths if not path.startswith(".overlays/")}


def test_each_overlay_is_chosen_by_some_answer() -> None:
    known = set(OVERLAY_NAMES)
    chosen = {
        name for choices in OVERLAYS_OF.values() for names in choices.values() for name in names
    }
    table = "OVERLAYS_OF in tests/bake/test_matrix.py"
    assert known <= chosen, f"{table} lacks {known - chosen}"
    assert chosen <= known, f"{table} has {chosen - known}, which is not an overlay"
    for question, choices in OVERLAYS_OF.items():
        answers = set(template.QUESTIONS[question])
        assert answers == set(choices), f"{table}: {question} must have {answers}"


def test_no_two_overlays_bring_the_same_file() -> None:
    base = set(base_files())
    files = {name: set(overlay_files(name)) for name in OVERLAY_NAMES}
    for name, paths in files.items():
        assert not base & paths, f"{name}: every repository has {base & paths} already"
    answers = itertools.product(*(choices.values() for choices in OVERLAYS_OF.values()))
    for overlays in answers:
        owners: dict[str, str] = {}
        for name in sorted(set().union(*overlays) & set(files)):
            for path in files[name]:
                assert path not in owners, f"{owners[path]} and {name} both bring {path}"
                owners[path] = name


def test_exactly_the_chosen_files(bakes: Bakes) -> None:
    base = base_files()
    for answers, _, files in bakes:
        chosen = [
            name for question, choices in OVERLAYS_OF.items() for name in choices[answers[question]]
        ]
        of_overlays = (path for name in chosen for path in overlay_files(name))
        expected = {*base, *of_overlays, MANIFEST}
        assert set(files) == expected, (
            f"{answers}: OVERLAYS_OF and chosen_by differ: {set(files) ^ expected}"
        )


def test_the_manifest_has_the_hash_of_every_file(bakes: Bakes) -> None:
    """`npm run template -- status` compares with it."""
    for _, _, files in bakes:
        manifest = json.loads(files[MANIFEST])
        assert manifest["version"] == VERSION
        assert manifest["files"] == {
            path: hashlib.sha256(content).hexdigest()
            for path, content in files.items()
            if path != MANIFEST
        }


@pytest.mark.parametrize("bakes", [share("both")], indirect=True)
def test_a_combination_is_as_from_the_command_line(bakes: Bakes, tmp_path: Path) -> None:
    """The matrix takes shortcuts (tests/support/faster_bakes.py); the command line does not."""
    answers, _, files = bakes[-1]
    given = [
        f"{name}={value}"
        for name, value in {**answers, "init_git": "no", "install_dependencies": "no"}.items()
    ]
    template.cookiecutter("--no-input", "--default-config", template.ROOT, *given, cwd=tmp_path)
    assert template.files(tmp_path / "my-medplum-bots") == files


def test_the_configuration_names_exactly_the_bots_that_are_there(bakes: Bakes) -> None:
    for answers, _, files in bakes:
        bots = json.loads(files["medplum.config.json"])["bots"]
        assert {bot["source"] for bot in bots} == {
            path for path in files if path.startswith("src/bots/")
        }, answers
        for bot in bots:
            assert bot["source"] == f"src/bots/{bot['name']}.ts"
            assert bot["dist"] == f"dist/bots/{bot['name']}.js"
            assert bot["runtimeVersion"] == answers["bot_runtime"]
        writers = [
            bot["name"]
            for bot in bots
            if bot.get("subscriptions") and bot["name"].startswith("hapi-")
        ]
        assert len(writers) <= 1, "two bots that write the same patients can double them"


def test_the_readme_says_where_things_are(bakes: Bakes) -> None:
    """The hook shows this table at the end of a run."""
    pipeline = {"github": [".github/workflows/"], "gitlab": [".gitlab-ci.yml"], "none": []}
    for answers, project, files in bakes:
        named = re.findall(r"^\| `(\S+)` +\| \S.*\|$", files["README.md"].decode(), re.MULTILINE)
        assert named[:2] == ["src/bots/", "src/shared/"]
        assert [name for name in named if name.startswith(".")] == pipeline[answers["ci_provider"]]
        assert not [name for name in named if not (project / name).exists()], answers


def test_files_without_answers_are_the_templates_own(bakes: Bakes) -> None:
    sources = base_files()
    for name in OVERLAY_NAMES:
        sources |= {path: file for path, file in overlay_files(name).items() if path != "LICENSE"}
    # One of three, or written by the hook.
    merged = {"LICENSE", "medplum.config.json", "package.json", MANIFEST}
    same = 0
    for path, content in different(bakes):
        if path.endswith(DATA) or (
            path not in merged and not re.search(rb"\{[{%#]", sources[path].read_bytes())
        ):
            assert content == sources[path].read_bytes(), path
            same += 1
    assert same > 50


def test_source_folders_hold_no_jinja() -> None:
    """So that they can be edited and run in place."""
    folder = f"{template.SOURCE.name}/"
    mistakes = []
    for path in template.template_files():
        if found := re.search(r"\{[{%#]", path.removeprefix(folder)):
            mistakes.append(f"{path}: {found[0]} begins an instruction for Jinja. Rename the file")
        is_source = Path(path).suffix in {".cjs", ".js", ".md", ".mjs", ".ts", ".tsx"}
        if not path.startswith(folder) or not is_source or path == f"{folder}README.md":
            continue
        lines = (template.ROOT / path).read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, 1):
            if found := re.search(r"\{[{%#]", line):
                mistakes.append(
                    f"{path}:{number}: {found[0]} begins an instruction for Jinja. "
                    "Write it in another way: give an object a name first"
                )
    assert not mistakes, "\n".join(mistakes)


def test_nothing_of_the_template_language_is_left(bakes: Bakes) -> None:
    for (path, content), answers in different(bakes).items():
        text = "" if path.endswith(DATA) else content.decode()
        left = re.search(r"(?<!\$)\{\{|\{%|\{#|cookiecutter\.\w", text)
        assert not left, f"{path} holds {left[0] if left else ''} with {answers}"


def test_every_data_file_parses(bakes: Bakes) -> None:
    for path, content in different(bakes):
        suffix = Path(path).suffix
        if suffix == ".json":
            json.loads(content)
        elif suffix in {".yml", ".yaml"}:
            assert isinstance(yaml.safe_load(content), dict), path


def test_every_text_is_tidy(bakes: Bakes) -> None:
    for path, content in different(bakes):
        if path.endswith(DATA):
            continue
        text = content.decode()
        assert text.endswith("\n"), f"{path} has no final newline"
        assert not text.endswith("\n\n"), f"{path} ends in an empty line"
        assert "\r" not in text, f"{path} has Windows line ends"
        trailing = [
            number for number, line in enumerate(text.split("\n"), 1) if line != line.rstrip()
        ]
        assert not trailing, f"{path} has trailing space in lines {trailing}"


def test_files_are_plain(bakes: Bakes) -> None:
    _, project, files = bakes[0]
    for path in files:
        assert not (project / path).is_symlink()
        if os.name != "nt":  # which has no such modes
            mode = (project / path).stat().st_mode & 0o777
            if path == COMMAND_LINE:
                assert mode & 0o111 == 0o111, f"{path} is not executable"
                mode &= ~0o111
            assert mode & 0o133 == 0, f"{path} is executable or writable by others"


def test_nothing_asks_for_a_posix_shell(bakes: Bakes) -> None:
    """On Windows, npm runs scripts with cmd.exe, and git changes line ends by default."""
    for _, _, files in bakes:
        assert not [
            path
            for path in files
            if path.endswith((".sh", ".bash")) or files[path].startswith(b"#!/bin/")
        ]
        for name, script in json.loads(files["package.json"])["scripts"].items():
            assert not re.search(
                r"(^|&& *)\w+=|'|[;`$|<>]|\b(rm|cp|mv|sh|bash)\b", script.partition("node -e")[0]
            ), name
        assert b"* text=auto eol=lf\n" in files[".gitattributes"]


def test_licence_and_pipeline_follow_the_answers(bakes: Bakes) -> None:
    first = {
        "Apache-2.0": b"Apache License",
        "MIT": b"MIT License",
        "none": b"All rights reserved.",
    }
    for answers, _, files in bakes:
        package = json.loads(files["package.json"])
        lock = json.loads(files["package-lock.json"])["packages"][""]
        assert package["license"] == lock["license"]
        if answers["license"] == "none":
            assert package["license"] == "UNLICENSED"
        else:
            assert package["license"] == answers["license"]
        assert first[answers["license"]] in files["LICENSE"].splitlines()[0]
        assert b"My Medplum Bots authors" in files["LICENSE"]
        for path in (".github/workflows/ci.yml", ".gitlab-ci.yml"):
            if path in files:
                pipeline = json.dumps(yaml.safe_load(files[path]))
                assert [
                    step for step in ("npm ci", "npm run build", "npm test") if step not in pipeline
                ] == []
