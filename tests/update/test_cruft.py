"""A repository follows the template for years: cruft's create, check, diff and update."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import template


def write(path: Path, text: str) -> None:
    """With the line ends that the repository has, also on Windows: cruft's patches have them."""
    path.write_text(text, encoding="utf-8", newline="\n")


class World:
    """A template with a history, and a repository that came from its first version."""

    def __init__(self, folder: Path, **answers: object) -> None:
        self.template = template.copy_template(folder / "medplum-bots")
        template.commit_all(self.template, "First version", "v1")
        given = json.dumps({**template.QUIET, **answers})
        template.cruft("create", "--no-input", self.template, "--extra-context", given, cwd=folder)
        self.project = folder / "my-medplum-bots"
        template.commit_all(self.project, "From the template")

    def publish(self, edits: dict[str, tuple[str, str]]) -> None:
        """Make a new version of the template: in each file, replace the first text by the second."""
        for path, (old, new) in edits.items():
            file = self.template / path
            text = file.read_text(encoding="utf-8")
            assert old in text
            write(file, text.replace(old, new, 1))
        template.commit_all(self.template, "Next version", None)

    def update(self, *arguments: str) -> str:
        done = template.cruft("update", "--skip-apply-ask", *arguments, cwd=self.project)
        return done.stdout + done.stderr

    def text(self, path: str) -> str:
        return (self.project / path).read_text(encoding="utf-8")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


BASE = "{{cookiecutter.project_slug}}"


def test_a_new_repository_is_left_to_its_owner_and_up_to_date(tmp_path: Path) -> None:
    source = template.copy_template(tmp_path / "medplum-bots")
    template.commit_all(source, "First version")
    # git and npm are asked for, but cruft leaves both to the user.
    done = template.cruft("create", "--no-input", source, cwd=tmp_path)
    project = tmp_path / "my-medplum-bots"
    assert not (project / ".git").exists()
    assert not (project / "node_modules").exists()
    assert not (project / ".overlays").exists()
    assert "  git init\n  npm ci\n  npm run build\n" in done.stdout
    assert "up to date" in template.cruft("check", cwd=project).stdout
    assert template.cruft("diff", cwd=project).stdout == ""


def test_an_update_brings_the_templates_changes_and_keeps_local_ones(world: World) -> None:
    write(world.project / "src" / "bots" / "mine.ts", "// mine\n")
    write(
        world.project / "README.md",
        world.text("README.md").replace("## Start", "Ours.\n\n## Start"),
    )
    template.commit_all(world.project, "Ours")
    world.publish(
        {
            f"{BASE}/README.md": ("## Where things are", "## Where to find things"),
            f"{BASE}/.overlays/hapi-sync-bot/overlay.json": ('"timeout": 30', '"timeout": 45'),
        }
    )
    assert template.cruft("check", cwd=world.project, check=False).returncode == 1
    assert "npm ci" not in world.update(), "cruft's temporary folders are no place to go to"
    readme = world.text("README.md")
    assert "## Where to find things" in readme
    assert "Ours.\n" in readme
    assert world.text("src/bots/mine.ts") == "// mine\n"
    assert [bot["timeout"] for bot in json.loads(world.text("medplum.config.json"))["bots"]].count(
        45
    ) == 1
    assert "up to date" in template.cruft("check", cwd=world.project).stdout
    assert not list(world.project.rglob("*.rej"))


def test_a_version_may_bring_new_filters(world: World) -> None:
    """Both versions are rendered in one process: the second must not meet the first one's filters."""
    world.publish(
        {
            "template_extensions.py": ("json_text, markdown, ", "json_text, shout, markdown, "),
            f"{BASE}/README.md": (
                "{{ cookiecutter.project_name | markdown }}",
                "{{ cookiecutter.project_name | shout }}",
            ),
        }
    )
    world.publish(
        {
            "template_extensions.py": (
                "def markdown(",
                "def shout(value: object) -> str:\n    return str(value).upper()\n\n\ndef markdown(",
            )
        }
    )
    world.update()
    assert world.text("README.md").startswith("# MY MEDPLUM BOTS\n")


def test_the_version_it_came_from_moves_along(world: World) -> None:
    world.publish({"template_extensions.py": ('VERSION = "0.1.0"', 'VERSION = "9.9.9"')})
    world.update()
    assert json.loads(world.text("package.json"))["medplumBotsTemplate"] == "9.9.9"
    assert "medplum-bots) 9.9.9." in world.text("README.md")


def test_the_example_bots_can_be_added_later(tmp_path: Path) -> None:
    world = World(tmp_path, example_bots="none")
    assert [path.name for path in (world.project / "src" / "bots").iterdir()] == [
        "hello-patient-bot.ts"
    ]
    write(world.project / "src" / "bots" / "mine.ts", "// mine\n")
    config = world.text("medplum.config.json").replace('"maxBytes": 1000000', '"maxBytes": 900000')
    write(world.project / "medplum.config.json", config)
    template.commit_all(world.project, "Ours")
    world.update("--variables-to-update", '{"example_bots": "hapi-sync"}')  # as README says
    assert world.text("src/bots/mine.ts") == "// mine\n"
    assert json.loads(world.text("medplum.config.json"))["maxBytes"] == 900_000
    assert "src/bots/hapi-sync-bot.ts" in template.files(world.project)
    assert "src/bots/hello-patient-bot.ts" not in template.files(world.project)
    assert [bot["name"] for bot in json.loads(world.text("medplum.config.json"))["bots"]] == [
        "hapi-sync-bot"
    ]
    assert not list(world.project.rglob("*.rej"))
    assert (
        json.loads(world.text(".cruft.json"))["context"]["cookiecutter"]["example_bots"]
        == "hapi-sync"
    )


def test_a_conflict_in_the_lock_file_is_marked_and_cured_as_the_documents_say(world: World) -> None:
    """Both sides moved a pin: take the template's side, as docs and README say; npm install adds one's own again."""
    pin = '"prettier": "3.10.1"'
    for path in ("package.json", "package-lock.json"):
        write(world.project / path, world.text(path).replace(pin, '"prettier": "3.9.0"'))
    template.commit_all(world.project, "Our pin")
    world.publish(
        {
            f"{BASE}/{path}": (pin, '"prettier": "3.11.0"')
            for path in ("package.json", "package-lock.json")
        }
    )
    world.update()
    conflicted = template.git("diff", "--name-only", "--diff-filter=U", cwd=world.project).split()
    assert conflicted == ["package-lock.json", "package.json"]
    template.git("checkout", "--theirs", "package.json", "package-lock.json", cwd=world.project)
    template.git("add", "--all", cwd=world.project)
    assert json.loads(world.text("package.json"))["devDependencies"]["prettier"] == "3.11.0"
    assert '"prettier": "3.11.0"' in world.text("package-lock.json")


def test_diff_shows_local_edits_of_template_files(world: World) -> None:
    write(world.project / ".nvmrc", "26\n")
    shown = template.cruft("diff", cwd=world.project).stdout
    assert "-26" in shown
    assert "+24" in shown
