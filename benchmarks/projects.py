"""The repositories that are compared: a generated one, and the official starter with its bots."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from tests.support.faster_bakes import hooks_in_this_process
from tests.support.packages import installed
from tests.support.template import bake

BASELINE = Path(__file__).with_name("baseline")

BOT = """// Sends each new patient's id to a registry: a small bot, as teams have many.
import type {{ BotEvent, MedplumClient }} from '@medplum/core';
import type {{ Patient }} from '@medplum/fhirtypes';
import {{ HTTP_VERBS, logExternalRequest, makeExternalRequest }} from '../shared/http-helpers.ts';

/** Where registry {number} is. */
const REGISTRY = 'http://localhost:9/registry-{number}';

export async function handler(
  medplum: MedplumClient,
  event: BotEvent<Patient>,
): Promise<{{ sent: boolean }}> {{
  const id = event.input.id ?? '';
  const patient = await medplum.readResource('Patient', id);
  if (patient.active === false) return {{ sent: false }};
  await makeExternalRequest(REGISTRY, HTTP_VERBS.POST, {{ id }});
  logExternalRequest('POST Patient', id, true);
  return {{ sent: true }};
}}
"""


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder outside the template, whose .gitignore the linters would obey."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        yield Path(folder).resolve()


def manifests(repository: Path) -> list[Path]:
    """Return the files that `npm ci` needs, relative to the repository."""
    patterns = (
        "package.json",
        "package-lock.json",
        ".npmrc",
        "tools/package.json",
        "tools/definitions/package.json",
        "tools/replacements/*/*",
    )
    found = (path for pattern in patterns for path in sorted(repository.glob(pattern)))
    return [path.relative_to(repository) for path in found]


def copy_manifests(repository: Path, to: Path) -> None:
    for name in manifests(repository):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, to / name)


def generate(folder: Path, **answers: str) -> Path:
    """A new repository: all default answers but these, nothing installed, nothing printed."""
    with hooks_in_this_process(), redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        return bake(folder, **answers)


def generated(folder: Path, bots: int) -> Path:
    """Generate a repository with packages and this many bots: the sync bots, then small ones."""
    project = generate(folder, example_bots="both" if bots > 1 else "hapi-sync")
    config_file = project / "medplum.config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    for number in range(bots - len(config["bots"])):
        name = f"registry-{number:04}-bot"
        source, dist = f"src/bots/{name}.ts", f"dist/bots/{name}.js"
        (project / source).write_text(BOT.format(number=number), encoding="utf-8")
        config["bots"].append({"name": name, "source": source, "dist": dist})
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (project / "node_modules").symlink_to(installed(project))
    return project


def starter(folder: Path, like: Path) -> Path:
    """The official starter with the sources and the configuration of a generated repository."""
    project = folder / "starter"
    shutil.copytree(BASELINE, project)
    shutil.copytree(like / "src", project / "src")
    shutil.copy(like / "medplum.config.json", project)
    (project / "node_modules").symlink_to(installed(project))
    return project
