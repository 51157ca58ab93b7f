"""Each overlay is described completely: what CONTRIBUTING.md asks for, step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match

from tests.bake.test_matrix import OVERLAYS, OVERLAYS_OF, overlay_files
from tests.support import template

Baked = Callable[..., Path]
CONFIG_SCHEMA = json.loads(
    (template.SOURCE / "medplum.config.schema.json").read_text(encoding="utf-8")
)
DEFINITIONS = CONFIG_SCHEMA["definitions"]
RESOURCE_TYPES = re.findall(
    r"\b[A-Z]\w+",
    (template.SOURCE / "tools/src/config/resource-types.ts").read_text(encoding="utf-8"),
)
KEYS = {"title", "chosen_by", "needs", "inactive_beside", "bots", "scripts"}
BOT_KEYS = ("name", "description", "source", "dist")
STARTS = {"subscriptions", "cron", "cronTiming", "cronJobs"}


def description(path: Path) -> dict[str, Any]:
    """Return the content of an overlay.json; nothing if it is not a JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def problem_of_json(path: Path) -> str:
    """Return why a file is not JSON; an empty text if it is."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return str(error)
    return ""


DESCRIPTIONS = {
    path.parent.name: description(path) for path in sorted(OVERLAYS.glob("*/overlay.json"))
}
each_overlay = pytest.mark.parametrize("name", DESCRIPTIONS)


def check(is_right: object, message: str) -> None:
    """Fail with this line alone, which says what to correct: the code of a test would hide it."""
    if not is_right:
        pytest.fail(message, pytrace=False)


def bots_of(name: str) -> list[dict[str, Any]]:
    """Return the bots of an overlay that have all the keys they need."""
    bots = DESCRIPTIONS[name].get("bots", [])
    return [bot for bot in bots if set(BOT_KEYS) <= set(bot)]


def test_every_folder_has_a_description() -> None:
    folders = {path.name for path in OVERLAYS.iterdir() if path.is_dir()}
    for folder in sorted(folders):
        check(folder in DESCRIPTIONS, f"{folder}/overlay.json is missing")


@each_overlay
def test_a_description_is_json(name: str) -> None:
    path = OVERLAYS / name / "overlay.json"
    problem = problem_of_json(path)
    check(not problem, f"{name}/overlay.json is not valid JSON: {problem}")
    content = json.loads(path.read_text(encoding="utf-8"))
    check(isinstance(content, dict), f"{name}/overlay.json must be an object")


@each_overlay
def test_lists_are_lists_and_objects_objects(name: str) -> None:
    about = DESCRIPTIONS[name]
    for key in ("chosen_by", "scripts"):
        check(isinstance(about.get(key, {}), dict), f"{name}/overlay.json: {key} must be an object")
    for bot in about.get("bots", []):
        check(isinstance(bot, dict), f"{name}/overlay.json: each of bots must be an object")
    lists = {key: about.get(key, []) for key in ("needs", "inactive_beside", "bots")}
    lists |= {f"chosen_by: {key}": value for key, value in about.get("chosen_by", {}).items()}
    for key, value in lists.items():
        check(isinstance(value, list), f"{name}/overlay.json: {key} must be a list")


@each_overlay
def test_a_description_has_a_title_and_no_unknown_key(name: str) -> None:
    unknown = set(DESCRIPTIONS[name]) - KEYS
    check(not unknown, f"{name}/overlay.json: {unknown} is unknown; there are {KEYS}")
    check(DESCRIPTIONS[name].get("title"), f"{name}/overlay.json: title is missing")


@each_overlay
def test_it_adds_files(name: str) -> None:
    check(overlay_files(name), f"{name}/files/ is missing or empty")


@each_overlay
def test_it_is_chosen_by_answers_that_exist(name: str) -> None:
    for question, choices in DESCRIPTIONS[name].get("chosen_by", {}).items():
        known: Any = template.QUESTIONS.get(question)
        check(isinstance(known, list), f"{name}: chosen_by names {question}, which is not a choice")
        for choice in choices:
            check(choice in known, f"{name}: chosen_by: {question} has no answer {choice!r}")


@each_overlay
def test_it_refers_to_overlays_that_exist(name: str) -> None:
    for key in ("needs", "inactive_beside"):
        for other in DESCRIPTIONS[name].get(key, []):
            check(other in DESCRIPTIONS, f"{name}: {key} names {other}, which is not an overlay")
            check(other != name, f"{name}: {key} names the overlay itself")


@each_overlay
def test_what_it_needs_does_not_need_it(name: str) -> None:
    seen: list[str] = []
    waiting = list(DESCRIPTIONS[name].get("needs", []))
    while waiting:
        needed = waiting.pop()
        check(needed != name, f"{name} needs itself through {seen}")
        if needed not in seen:
            seen.append(needed)
            waiting += DESCRIPTIONS.get(needed, {}).get("needs", [])


@each_overlay
def test_it_is_chosen_or_needed(name: str) -> None:
    needed = {other for about in DESCRIPTIONS.values() for other in about.get("needs", [])}
    check(
        DESCRIPTIONS[name].get("chosen_by") or name in needed,
        f"{name}: add chosen_by, or name it in needs of another overlay",
    )


@each_overlay
def test_its_bots_have_their_files_and_a_test(name: str) -> None:
    files = overlay_files(name)
    for bot in DESCRIPTIONS[name].get("bots", []):
        missing = [key for key in BOT_KEYS if key not in bot]
        check(not missing, f"{name}/overlay.json: a bot lacks {missing}")
        dist = f"dist/bots/{bot['name']}.js"
        check(bot["dist"] == dist, f"{name}/overlay.json: dist of {bot['name']} must be {dist}")
        check(bot["source"] in files, f"{name}: {bot['source']} is not in files/")
        code = files[bot["source"]].read_text(encoding="utf-8")
        check(
            re.search(r"^export .*\bhandler\b", code, re.MULTILINE),
            f"{name}: {bot['source']} exports no handler",
        )
        tests = [file for path, file in files.items() if path.endswith(".test.ts")]
        check(
            any(bot["name"] in test.read_text(encoding="utf-8") for test in tests),
            f"{name}: no test in files/ names {bot['name']}",
        )


@each_overlay
def test_its_bots_are_entries_of_the_configuration(name: str) -> None:
    bot_entry = {**CONFIG_SCHEMA["properties"]["bots"]["items"], "definitions": DEFINITIONS}
    for bot in bots_of(name):
        error = best_match(Draft7Validator(bot_entry).iter_errors(bot))
        if error:
            problem = error.message
            if error.validator == "enum" and len(error.validator_value) > 10:
                problem = f"{error.instance!r} is not one of the values there are"
            check(False, f"{name}/overlay.json: {bot['name']}: {error.json_path}: {problem}")
        check("accessPolicy" in bot, f"{name}/overlay.json: {bot['name']}: accessPolicy is missing")
        check(
            STARTS & set(bot),
            f"{name}/overlay.json: {bot['name']}: add what starts it, subscriptions or cron "
            "(an empty list of subscriptions if it is only called)",
        )
        for subscription in bot.get("subscriptions", []):
            resource_type = subscription["criteria"].split("?")[0]
            check(
                resource_type in RESOURCE_TYPES,
                f"{name}/overlay.json: {bot['name']}: {resource_type} is not a resource type",
            )


def test_no_bot_is_added_twice() -> None:
    names = [bot["name"] for name in DESCRIPTIONS for bot in bots_of(name)]
    twice = {name for name in names if names.count(name) > 1}
    check(not twice, f"overlay.json: more than one bot is called {twice}")


@each_overlay
def test_its_bots_are_among_its_files(name: str) -> None:
    """The build refuses a bot that medplum.config.json does not name."""
    sources = {bot["source"] for bot in bots_of(name)}
    others = {path for path in overlay_files(name) if path.startswith("src/bots/")} - sources
    check(not others, f"{name}/overlay.json: bots lacks {others}")


@each_overlay
def test_its_events_are_json(name: str) -> None:
    for path, file in overlay_files(name).items():
        problem = problem_of_json(file) if path.endswith(".json") else ""
        check(not problem, f"{name}/files/{path} is not valid JSON: {problem}")


@each_overlay
def test_its_scripts_start_commands_that_exist(name: str) -> None:
    commands = {path.stem for path in (template.SOURCE / "tools/src/commands").glob("*.ts")}
    for overlay in DESCRIPTIONS:
        paths = (Path(path) for path in overlay_files(overlay))
        commands |= {path.stem for path in paths if path.parent.as_posix() == "tools/src/commands"}
    package = (template.SOURCE / "package.json").read_text(encoding="utf-8")
    for script, line in DESCRIPTIONS[name].get("scripts", {}).items():
        check(f'    "{script}": ' not in package, f"{name}: every repository has {script} already")
        found = re.match(r"node tools/bin/medplum-bots\.cjs ([\w-]+)", line)
        command = found[1] if found else ""
        check(command, f"{name}: the script {script} does not start medplum-bots")
        check(command in commands, f"{name}: there is no command {command}")


@pytest.mark.parametrize("choice", OVERLAYS_OF["example_bots"])
def test_the_generated_readme_describes_each_bot(choice: str, baked: Baked) -> None:
    check_bots_in_readme(baked(example_bots=choice))


def test_the_generated_readme_describes_the_bot_that_reports_failures(baked: Baked) -> None:
    check_bots_in_readme(baked(example_bots="none", failure_alerts="failure-alert-bot"))


def check_bots_in_readme(project: Path) -> None:
    readme = (project / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Bots\n")[2].partition("\n## ")[0]
    items = [line for line in section.splitlines() if line.startswith("- `")]
    described = {name for item in items for name in re.findall(r"`([\w-]+-bot)`", item)}
    config = json.loads((project / "medplum.config.json").read_bytes())
    bots = {bot["name"] for bot in config["bots"]}
    check(bots <= described, f"README.md of a generated repository lacks {bots - described}")
    check(
        described <= bots,
        f"README.md of a generated repository describes {described - bots}, which it lacks",
    )


def code_of(project: Path, source: str) -> str:
    """Return the code of a bot and of the modules that it imports, without comments.

    Files that do not exist are left out; other tests name them.
    """
    code = ""
    seen: set[Path] = set()
    waiting = [project / source]
    while waiting:
        path = waiting.pop().resolve()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        text = path.read_text(encoding="utf-8")
        waiting += [path.parent / name for name in re.findall(r"from '(\.[^']+)'", text)]
        code += re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", text, flags=re.DOTALL)
    return code


@pytest.mark.parametrize("choice", OVERLAYS_OF["example_bots"])
def test_each_bot_is_given_exactly_the_secrets_that_its_code_reads(
    choice: str, baked: Baked
) -> None:
    check_secrets(baked(example_bots=choice))


def test_the_bot_that_reports_failures_is_given_the_secrets_that_it_reads(baked: Baked) -> None:
    check_secrets(baked(example_bots="none", failure_alerts="failure-alert-bot"))


def check_secrets(project: Path) -> None:
    for bot in json.loads((project / "medplum.config.json").read_bytes())["bots"]:
        name = bot["name"]
        secrets = bot.get("secrets", [])
        given = {secret if isinstance(secret, str) else secret["name"] for secret in secrets}
        code = code_of(project, bot["source"])
        quoted = set(re.findall(r"'([A-Z][A-Z0-9_]*)'", code))
        read = set(re.findall(r"Secret\(\s*[\w.]+,\s*'(\w+)'", code))
        if name == "hapi-sync-simple-bot":  # the modules it imports could read more
            assert given == {"HAPI_BASE_URL", "HAPI_BEARER_TOKEN"}
        else:
            read |= {text for text in quoted if text.startswith("HAPI_")}
            check(read <= given, f"{name}: its code reads {read - given}; add it to its secrets")
        check(given <= quoted, f"{name}: its code does not read the secret {given - quoted}")


def test_every_choice_of_examples_is_built_and_tested() -> None:
    from tests.project.test_project import ANSWERS

    choices = set(template.QUESTIONS["example_bots"])
    table = "ANSWERS in tests/project/test_project.py"
    check(choices <= set(ANSWERS), f"{table} lacks {choices - set(ANSWERS)}")
    check(set(ANSWERS) <= choices, f"{table} has {set(ANSWERS) - choices}, which is not an answer")
