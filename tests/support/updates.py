"""A template that gets new versions, and a repository that follows it with cruft."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import in_process, template

BASE = template.SOURCE.name
"""The folder of the template with the files of every repository."""


def write(path: Path, text: str) -> None:
    """Write a file with `\\n` line ends, also on Windows: cruft's patches have these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


class FollowedTemplate:
    """A git repository of the template, and a project that was created from its first version."""

    def __init__(self, folder: Path, **answers: object) -> None:
        self.template = template.copy_template(folder / "medplum-bots")
        template.commit_all(self.template, "First version", "v1")
        given = json.dumps({**template.QUIET, **answers})
        in_process.cruft(
            "create", "--no-input", self.template, "--extra-context", given, cwd=folder
        )
        self.project = folder / "my-medplum-bots"
        template.commit_all(self.project, "From the template")

    def publish(self, edits: dict[str, tuple[str, str]]) -> None:
        """Make a new version: in each of the template's files, replace the first text once."""
        for path, (old, new) in edits.items():
            replace_once(self.template / path, old, new)
        template.commit_all(self.template, "Next version")

    def update(self, *arguments: str) -> str:
        """Run `cruft update`; return its output."""
        done = in_process.cruft("update", "--skip-apply-ask", *arguments, cwd=self.project)
        return done.stdout + done.stderr

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text once in a file of the project."""
        replace_once(self.project / path, old, new)

    def text(self, path: str) -> str:
        return (self.project / path).read_text(encoding="utf-8")

    def conflicts(self) -> list[str]:
        """Return the files that git could not merge, and those that cruft could not patch."""
        unmerged = template.git("diff", "--name-only", "--diff-filter=U", cwd=self.project)
        rejected = self.project.rglob("*.rej")
        return [*unmerged.split(), *(path.name for path in rejected)]


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path} does not contain {old!r}"
    write(path, text.replace(old, new, 1))
