"""A repository follows the template: cruft's create, check, diff and update."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from template_extensions import VERSION
from tests.support import in_process, template
from tests.support.updates import BASE, FollowedTemplate, write


@pytest.fixture
def followed(tmp_path: Path) -> FollowedTemplate:
    return FollowedTemplate(tmp_path)


def test_a_new_repository_is_left_to_its_owner_and_up_to_date(tmp_path: Path) -> None:
    source = template.copy_template(tmp_path / "medplum-bots")
    template.commit_all(source, "First version")
    # git and npm are asked for, but cruft leaves both to the user.
    done = in_process.cruft("create", "--no-input", source, cwd=tmp_path)
    project = tmp_path / "my-medplum-bots"
    assert not (project / ".git").exists()
    assert not (project / "node_modules").exists()
    assert not (project / ".overlays").exists()
    assert "  git init\n  npm ci\n  npm run build\n" in done.stdout
    assert "up to date" in in_process.cruft("check", cwd=project).stdout
    assert in_process.cruft("diff", cwd=project).stdout == ""


def test_an_existing_folder_stays_as_it_is(template_repository: Path, tmp_path: Path) -> None:
    """cruft prints a traceback before anything of the template runs; README.md explains its end."""
    (tmp_path / "my-medplum-bots").mkdir()
    line = ("create", "--no-input", template_repository)
    done = template.cruft(*line, cwd=tmp_path, check=False)
    assert done.returncode == 1
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line.startswith("OutputDirExistsException")
    assert "OutputDirExistsException" in (template.ROOT / "README.md").read_text(encoding="utf-8")
    assert list((tmp_path / "my-medplum-bots").iterdir()) == []


def test_an_update_brings_the_templates_changes_and_keeps_local_ones(
    followed: FollowedTemplate,
) -> None:
    write(followed.project / "src" / "bots" / "mine.ts", "// mine\n")
    write(
        followed.project / "README.md",
        followed.text("README.md").replace("## Start", "Ours.\n\n## Start"),
    )
    template.commit_all(followed.project, "Ours")
    followed.publish(
        {
            f"{BASE}/README.md": ("## Where things are", "## Where to find things"),
            f"{BASE}/.overlays/hapi-sync-bot/overlay.json": ('"timeout": 30', '"timeout": 45'),
        }
    )
    assert in_process.cruft("check", cwd=followed.project, check=False).returncode == 1
    assert "npm ci" not in followed.update(), (
        "cruft's temporary folders must not be named as a place to go to"
    )
    readme = followed.text("README.md")
    assert "## Where to find things" in readme
    assert "Ours.\n" in readme
    assert followed.text("src/bots/mine.ts") == "// mine\n"
    assert [
        bot["timeout"] for bot in json.loads(followed.text("medplum.config.json"))["bots"]
    ].count(45) == 1
    assert "up to date" in in_process.cruft("check", cwd=followed.project).stdout
    assert not list(followed.project.rglob("*.rej"))


def test_a_version_may_bring_new_filters(followed: FollowedTemplate) -> None:
    """Both versions are rendered in one process, and each needs its own filters."""
    followed.publish(
        {
            "template_extensions.py": ("json_text, markdown, ", "json_text, shout, markdown, "),
            f"{BASE}/README.md": (
                "{{ cookiecutter.project_name | markdown }}",
                "{{ cookiecutter.project_name | shout }}",
            ),
        }
    )
    followed.publish(
        {
            "template_extensions.py": (
                "def markdown(",
                "def shout(value: object) -> str:\n    return str(value).upper()\n\n\n"
                "def markdown(",
            )
        }
    )
    followed.update()
    assert followed.text("README.md").startswith("# MY MEDPLUM BOTS\n")


def test_the_version_it_came_from_moves_along(followed: FollowedTemplate) -> None:
    version = (f'VERSION = "{VERSION}"', 'VERSION = "9.9.9"')
    followed.publish({"template_extensions.py": version})
    followed.update()
    assert json.loads(followed.text("package.json"))["medplumBotsTemplate"] == "9.9.9"
    assert "medplum-bots) 9.9.9." in followed.text("README.md")


def test_the_example_bots_can_be_added_later(tmp_path: Path) -> None:
    followed = FollowedTemplate(tmp_path, example_bots="none")
    assert sorted(path.name for path in (followed.project / "src" / "bots").iterdir()) == [
        "hello-appointment-bot.ts",
        "hello-patient-bot.ts",
    ]
    write(followed.project / "src" / "bots" / "mine.ts", "// mine\n")
    config = followed.text("medplum.config.json").replace(
        '"maxBytes": 1000000', '"maxBytes": 900000'
    )
    write(followed.project / "medplum.config.json", config)
    template.commit_all(followed.project, "Ours")
    followed.update("--variables-to-update", '{"example_bots": "hapi-sync"}')  # as README says
    assert followed.text("src/bots/mine.ts") == "// mine\n"
    assert json.loads(followed.text("medplum.config.json"))["maxBytes"] == 900_000
    assert "src/bots/hapi-sync-bot.ts" in template.files(followed.project)
    assert "src/bots/hello-patient-bot.ts" not in template.files(followed.project)
    assert [bot["name"] for bot in json.loads(followed.text("medplum.config.json"))["bots"]] == [
        "hapi-sync-bot"
    ]
    assert not list(followed.project.rglob("*.rej"))
    assert (
        json.loads(followed.text(".cruft.json"))["context"]["cookiecutter"]["example_bots"]
        == "hapi-sync"
    )


def test_a_conflict_in_the_lock_file_is_marked_and_cured_as_the_documents_say(
    followed: FollowedTemplate,
) -> None:
    """Both sides moved a pin: take the template's side, as docs/updating.md says."""
    pin = '"prettier": "3.10.1"'
    for path in ("package.json", "package-lock.json"):
        write(followed.project / path, followed.text(path).replace(pin, '"prettier": "3.9.0"'))
    template.commit_all(followed.project, "Our pin")
    followed.publish(
        {
            f"{BASE}/{path}": (pin, '"prettier": "3.11.0"')
            for path in ("package.json", "package-lock.json")
        }
    )
    followed.update()
    conflicted = template.git(
        "diff", "--name-only", "--diff-filter=U", cwd=followed.project
    ).split()
    assert conflicted == ["package-lock.json", "package.json"]
    template.git("checkout", "--theirs", "package.json", "package-lock.json", cwd=followed.project)
    template.git("add", "--all", cwd=followed.project)
    assert json.loads(followed.text("package.json"))["devDependencies"]["prettier"] == "3.11.0"
    assert '"prettier": "3.11.0"' in followed.text("package-lock.json")


def test_diff_shows_local_edits_of_template_files(followed: FollowedTemplate) -> None:
    write(followed.project / ".nvmrc", "26\n")
    shown = in_process.cruft("diff", cwd=followed.project).stdout
    assert "-26" in shown
    assert "+24" in shown
