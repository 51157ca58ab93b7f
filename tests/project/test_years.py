"""A repository that a team works in receives three later versions of the template.

The team has a bot of its own, renamed an example, added a dependency, and edited the workflow and
the build script. Updates conflict only where both sides changed the same line.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from template_extensions import VERSION
from tests.support import template
from tests.support.updates import BASE, FollowedTemplate, write

OVERLAYS = f"{BASE}/.overlays"
RENAMED = "src/bots/patient-copy-bot.ts"
OWN_BOT = """// Counts the patients that it sees.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Patient } from '@medplum/fhirtypes';

export async function handler(
  _medplum: MedplumClient,
  event: BotEvent<Patient>,
): Promise<{ counted: boolean }> {
  return { counted: event.input.resourceType === 'Patient' };
}
"""


@pytest.fixture
def followed(tmp_path: Path) -> FollowedTemplate:
    followed = FollowedTemplate(tmp_path)
    project = followed.project
    write(project / "src" / "bots" / "own-bot.ts", OWN_BOT)
    template.git("mv", "src/bots/hapi-sync-simple-bot.ts", RENAMED, cwd=project)
    for test in sorted((project / "tests").glob("hapi-sync-simple-bot*")):
        renamed = test.with_name(test.name.replace("hapi-sync-simple-bot", "patient-copy-bot"))
        template.git("mv", test, renamed, cwd=project)
        text = renamed.read_text(encoding="utf-8")
        write(renamed, text.replace("hapi-sync-simple-bot", "patient-copy-bot"))
    config = json.loads(followed.text("medplum.config.json"))
    for bot in config["bots"]:
        if bot["name"] == "hapi-sync-simple-bot":
            bot["name"] = "patient-copy-bot"
            bot["source"] = RENAMED
            bot["dist"] = "dist/bots/patient-copy-bot.js"
    own_bot = {"name": "own-bot", "source": "src/bots/own-bot.ts", "dist": "dist/bots/own-bot.js"}
    config["bots"].append(own_bot)
    hook = template.load(template.ROOT / "hooks" / "post_gen_project.py", "post_gen_project")
    write(project / "medplum.config.json", hook.formatted_json(config) + "\n")
    # A package that is installed anyway, so that the test needs no network.
    for path, indent in (("package.json", ""), ("package-lock.json", "    ")):
        group = '  "devDependencies": {'
        own_group = f'  "dependencies": {{\n{indent}    "croner": "11.0.1"\n{indent}  }},\n{indent}'
        followed.edit(path, group, own_group + group)
    followed.edit(".github/workflows/ci.yml", "timeout-minutes: 15", "timeout-minutes: 20")
    followed.edit("esbuild-script.mjs", "// Bundles", "// Ours: bundles")
    followed.edit("README.md", "## Start\n", "## How we start\n")
    template.commit_all(project, "Our work")
    return followed


def test_three_later_versions_arrive_and_everything_is_green(
    followed: FollowedTemplate, install: Callable[[Path], None]
) -> None:
    project = followed.project

    # The second version: small changes in many files.
    end_of_script = followed.text("esbuild-script.mjs")[-60:]
    followed.publish(
        {
            f"{BASE}/README.md": ("## Deploy\n", "## Deploy the bots\n"),
            f"{BASE}/esbuild-script.mjs": (end_of_script, f"{end_of_script}// Version 2\n"),
            f"{BASE}/tools/src/main.ts": ("// The command", "// Version 2: the command"),
            f"{OVERLAYS}/ci-github/files/.github/workflows/ci.yml": (
                "name: CI\n",
                "name: Continuous integration\n",
            ),
            f"{OVERLAYS}/hapi-sync-bot/overlay.json": ('"timeout": 30', '"timeout": 45'),
            f"{OVERLAYS}/hapi-sync-simple-bot/files/src/bots/hapi-sync-simple-bot.ts": (
                "//",
                "// Version 2:",
            ),
        }
    )
    followed.update()
    assert followed.conflicts() == []
    assert "## Deploy the bots" in followed.text("README.md")
    assert followed.text("esbuild-script.mjs").endswith("// Version 2\n")
    assert "// Version 2" in followed.text("tools/src/main.ts")
    workflow = followed.text(".github/workflows/ci.yml")
    assert "name: Continuous integration" in workflow
    assert "timeout-minutes: 20" in workflow
    bots = {bot["name"]: bot for bot in json.loads(followed.text("medplum.config.json"))["bots"]}
    assert bots["hapi-sync-bot"]["timeout"] == 45
    # cruft skips a renamed file; the status names it.
    assert "Version 2" not in followed.text(RENAMED)
    install(project)
    status = template.run("npm", "run", "template", "--", "status", cwd=project).stdout
    assert f"src/bots/hapi-sync-simple-bot.ts -> {RENAMED}" in status
    template.commit_all_tracked(project, "Version 2")

    # The third version: a new file, a newer pin, and one line that the team changed too.
    pin = json.loads(followed.text("package.json"))["devDependencies"]["prettier"]
    write(followed.template / BASE / "docs" / "new-page.md", "# A new page\n")
    followed.publish(
        {
            f"{BASE}/package.json": (f'"prettier": "{pin}"', '"prettier": "3.99.0"'),
            f"{BASE}/package-lock.json": (f'"prettier": "{pin}"', '"prettier": "3.99.0"'),
            f"{BASE}/README.md": ("## Start\n", "## Start here\n"),
        }
    )
    followed.update()
    assert followed.conflicts() == ["README.md"]
    conflict = r"<<<<<<< ours\n(.*?)=======\n.*?>>>>>>> theirs\n"
    ours = re.sub(conflict, r"\1", followed.text("README.md"), flags=re.DOTALL)
    assert "<<<<<<<" not in ours
    assert "## How we start" in ours
    write(project / "README.md", ours)
    assert followed.text("docs/new-page.md") == "# A new page\n"
    package = json.loads(followed.text("package.json"))
    assert package["devDependencies"]["prettier"] == "3.99.0"
    assert package["dependencies"] == {"croner": "11.0.1"}
    assert '"prettier": "3.99.0"' in followed.text("package-lock.json")
    template.commit_all_tracked(project, "Version 3")

    # The fourth version: the pin goes back, a file goes away, the version moves.
    (followed.template / BASE / "docs" / "new-page.md").unlink()
    followed.publish(
        {
            "template_extensions.py": (f'VERSION = "{VERSION}"', 'VERSION = "9.9.9"'),
            f"{BASE}/package.json": ('"prettier": "3.99.0"', f'"prettier": "{pin}"'),
            f"{BASE}/package-lock.json": ('"prettier": "3.99.0"', f'"prettier": "{pin}"'),
        }
    )
    followed.update()
    assert followed.conflicts() == []
    assert not (project / "docs" / "new-page.md").exists()
    assert json.loads(followed.text("package.json"))["medplumBotsTemplate"] == "9.9.9"
    assert json.loads(followed.text("tools/template.json"))["version"] == "9.9.9"
    assert (project / "src" / "bots" / "own-bot.ts").read_text(encoding="utf-8") == OWN_BOT

    # What came out installs (npm would not change the lock file), builds and passes its tests.
    before = followed.text("package-lock.json")
    lock = ("install", "--package-lock-only", "--offline", "--ignore-scripts")
    template.run("npm", *lock, cwd=project)
    assert followed.text("package-lock.json") == before
    shutil.rmtree(project / "dist", ignore_errors=True)
    template.run("npm", "run", "build", cwd=project)
    built = {path.name for path in (project / "dist" / "bots").glob("*.js")}
    assert {"own-bot.js", "patient-copy-bot.js", "hapi-sync-bot.js"} <= built
    patience = ("--testTimeout=120000", "--hookTimeout=120000")
    template.run("npm", "test", "--", *patience, cwd=project)
