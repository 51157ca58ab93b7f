"""Checks the answers of a replay, and copies the files that Cookiecutter is about to overwrite.

Runs in the target folder before anything is rendered. A new folder is empty, and nothing happens.
In an existing one (`-f`), each file that the template may write is copied to `<name>.before-<n>`
beside the folder. hooks/post_gen_project.py then deletes the copies of files that did not change.
Where a file of the template cannot be written, nothing is changed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

# fmt: off
SOURCE = r'''{{ source_folder | tojson }}'''
WRONG_ANSWER = r'''{{ cookiecutter | wrong_answer | tojson }}'''
# fmt: on

STAGING = ".overlays"
"""The folder that holds the overlays until the other hook has moved them into place."""


class ObstacleError(Exception):
    """A file or folder of the project that the template cannot write over."""


def template_files(source: Path) -> set[Path]:
    """Return the paths of all files that the template may write, relative to the target folder."""
    paths = {Path("tools", "template.json")}  # written by the other hook
    for path in source.rglob("*"):
        relative = path.relative_to(source)
        if not path.is_file():
            continue
        if relative.parts[0] != STAGING:
            paths.add(relative)
        elif relative.parts[2:3] == ("files",):  # .overlays/<name>/files/<path in the repository>
            paths.add(Path(*relative.parts[3:]))
    return paths


def obstacle(project: Path, path: Path) -> str | None:
    """Return why the template's file cannot be written at this path in the project, or None.

    Cookiecutter would stop in the middle, or leave the file out without a message.
    """
    for folder in reversed(path.parents):
        place = project / folder
        if place.exists() and not place.is_dir():
            return f"{folder} is a file, and the template has a folder there; move it away"
        if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            return f"the folder {place if folder == Path() else folder} cannot be written"
    if (project / path).is_dir():
        return f"{path} is a folder, and the template has a file there; move it away"
    if (project / path).exists() and not os.access(project / path, os.W_OK):
        return f"{path} is read-only; make it writable, or move it away"
    return None


def new_folder_for_copies(project: Path) -> Path:
    """Create a folder beside the project, or a temporary one if that folder cannot be written."""
    number = 1
    while True:
        folder = project.with_name(f"{project.name}.before-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        except OSError:
            return Path(tempfile.mkdtemp(prefix=f"{project.name}.before-"))
        else:
            return folder


def keep_existing_files(project: Path, source: Path) -> None:
    """Copy what may be overwritten, and tell the other hook where the copies are."""
    if not any(project.iterdir()):
        return
    paths = sorted(template_files(source))
    for path in paths:
        problem = obstacle(project, path)
        if problem:
            raise ObstacleError(problem)
    existing = [path for path in paths if (project / path).is_file()]
    if not existing:
        return
    folder = new_folder_for_copies(project)
    for path in existing:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / path, folder / path)
    staging = project / STAGING
    shutil.rmtree(staging, ignore_errors=True)  # left by a run with --accept-hooks no
    staging.mkdir()
    (staging / "copies.txt").write_text(str(folder), encoding="utf-8")
    # The template has a file of this name too, with other content. After rendering, the content
    # shows whether Cookiecutter overwrites existing files or skips them (--skip-if-file-exists).
    (staging / "existing-files.txt").write_text("skipped\n", encoding="utf-8")


if __name__ == "__main__":
    here = Path.cwd()
    wrong_answer = json.loads(WRONG_ANSWER)
    if wrong_answer:  # of a replay; those to questions were checked right after them
        print(f"Error: {wrong_answer}", file=sys.stderr)
        sys.exit(1)
    try:
        keep_existing_files(here, Path(json.loads(SOURCE)))
    except (OSError, ObstacleError) as error:
        print(f"Error: cannot write over {here}: {error}; nothing was changed", file=sys.stderr)
        sys.exit(1)
