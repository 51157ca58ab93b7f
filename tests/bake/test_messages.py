"""The documents of a generated repository explain each of its error messages.

Messages are collected from the sources. The beginning of the longest fixed part of each must be in
docs/troubleshooting.md or docs/updating.md, or in docs/syncing-messages.md if an overlay has the
message.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import template

# What is said to people begins so; `message:` and `=>` are zod's and lists' ways.
BEGINNINGS = re.compile(
    r"(?:\b(?:\w*Error|super|wrong|warn|again|blocked)\(|\b(?:mistakes|problems|warnings)\.push\()"
    r"\s*(?=[`'\"])"
)
# Messages that the search does not find: a part of each, which the file must still contain.
ELSEWHERE = {
    "tools/src/bundling/check-bundle.ts": [
        "does not exist on vmcontext",
        "which vmcontext does not have: the bot fails if it reaches that code",
        "the files of a package are not next to a bundle",
    ],
    "tools/src/bundling/esbuild-messages.ts": [
        "cannot be found: ",
        "check the path of the file",
        "npm install --save-dev",
        "has types only, no code",
        "is installed, but has no code to import",
        "is not a file that ",
        "require() of an expression",
        "import() of an expression fails on vmcontext",
        "import.meta is empty in a bundle, which has no address",
        "its package.json says that it has no side effects",
    ],
    "tools/src/bundling/inspect-bundle.ts": [
        "exports no handler: add ",
        "makes a bundle of ",
        "and carries its handler: move what both need to src/shared",
    ],
    "tools/src/bundling/shared-exports.ts": [
        "has no JSDoc",
        "the JSDoc of ",
        ": describe what goes in",
    ],
    "tools/src/bundling/source-files.ts": [
        "does not exist: write it, or remove ",
        "exports a handler and is not in medplum.config.json",
    ],
    "tools/src/runtime/vmcontext-globals.ts": [
        "a bundle has no folder: import the file, and it becomes part of the bundle",
        "use console.log: before Medplum 5.1.28 vmcontext has no other method of console",
        'compare error.name, or test "message" in error',
    ],
    "tools/src/config/warnings.ts": [
        "may read, change and delete everything in the project, other bots included"
    ],
    "tools/src/command-line.ts": ["This is unexpected."],
    "tools/src/config/schedule.ts": ["has to be five numeric fields like"],
    "tools/src/config/subscription.ts": ["is not a resource type, so this would never run."],
    "tools/src/deploy/deploy.ts": ["is not as it should be after the deployment"],
    "tools/src/deploy/describe-plan.ts": [
        "both have the identifier",
        "medplum.config.json gives it the id",
        "which is its id in medplum.config.json",
        'The project lacks the feature "cron": no schedule will start',
        "These credentials are not of a project admin: memberships",
        "the project has no access policy with the name",
        "the project has several access policies with the name",
        "this server has no Cron resources",
        "by a rollback",
        "it is deployed by",
        "have its url or identifier: delete all but one",
        "which is not in medplum.config.json",
        "its rollback did not finish; run it again",
        "its last deployment did not finish",
        "another tool deployed",
        "membership (missing: no event would run it)",
        "only a project admin can remove it",
        "so it stays: remove our identifier from it in the Medplum app",
        "has this name, too. To adopt it instead",
        "starts it, too, and is not part of this repository",
    ],
    "tools/src/deploy/rollback.ts": ["no earlier version", "beginning with"],
    "tools/src/try-bot/medplum.ts": ["No Medplum answers at"],
    "tools/src/medplum/bot-execution.ts": [
        "Bots not enabled",
        "Unsupported bot runtime",
        "No executable code",
    ],
    "tools/src/local-servers.ts": ["is taken"],
    "tools/src/runtime/worker-pool.ts": [
        "Task timed out after",
        "Script execution timed out after",
    ],
    "tools/src/runtime/sandbox.ts": ["The bundle returned a function instead of a result"],
    "tools/src/commands/analyze.ts": ["in no bundle"],
    "tools/src/deploy/doctor.ts": ["the newest never fire. Remove some"],
    ".overlays/hapi-sync-bot/files/src/shared/sync/source.ts": [" from Medplum"],
    ".overlays/hapi-sync-bot/files/src/shared/sync/sync.ts": [
        "the type is not among the types",
        "not a FHIR id",
        "changed on Medplum in the meantime",
    ],
    ".overlays/hapi-sync-bot/files/src/shared/sync/errors.ts": [
        "conflict",
        "unavailable",
        "timeout",
        "throttled",
        "denied",
        "refused",
        "blocked",
        "untrusted",
        "unsupported",
        "not-ours",
        "not-found",
        "invalid",
    ],
}
# All of a kind are one row of the page.
GROUPS = {
    r"^bots\[": "medplum.config.json: …",
    r"^\S* was answered with ": "was answered with 403",
}
REFUSAL = "the beginning of a refusal; docs/runtimes.md explains all of them"
# Not on the page, and why not.
LEFT_OUT = {
    r"^(HAPI-|Resource was deleted|The local server sorts)": "HAPI's words, for bots",
    r"^(Cannot authenticate|Must specify bot|Content could not|The \"iterable\")": (
        "Medplum's own words"
    ),
    r"^Expected \$\{": "Medplum's own words, about the output of a custom operation",
    r"^Expected at most": "Medplum's own words, about the output of a custom operation",
    r"^(\$\w+ (with|of|inside)|\$(everything|expand|validate-code|graphql) )": REFUSAL,
    r"^(The parameter \$\{|A streaming bot)": REFUSAL,
    r"^GraphQL failed": "a fault inside the local server",
    r"^The text is not a configuration": "a fault of the tools: they check the configuration first",
    r"^(Cursor fails|The user aborted)": "inside of libraries that are imitated",
    r"^\$\{(mistakes|errors|error|plan|failed|name\}: \$\{message)": (
        "joins messages that are collected themselves"
    ),
}
FHIR_SERVER = re.compile(r"tools/src/fhir-server/[a-z-]+\.ts$")


# Between two texts that are joined over lines: `'begins so, ' + 'and goes on'`.
JOIN = re.compile(r"\s*\+\s*(?=[`'\"])")


def literal(text: str, start: int) -> str:
    """The inside of the JavaScript text that begins with this quote, and of those joined to it."""
    quote, depth, at = text[start], 0, start + 1
    while depth or text[at] != quote:
        if text[at] == "\\":
            at += 1
        elif quote == "`" and text.startswith("${", at):
            depth, at = depth + 1, at + 1
        elif depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    inside = text[start + 1 : at]
    join = JOIN.match(text, at + 1)
    return inside + literal(text, join.end()) if join else inside


def fixed_part(message: str) -> str:
    """The first words of the longest part that no value stands in, as people see it."""
    parts, depth = [""], 0
    for at, character in enumerate(message):
        if message.startswith("${", at) or (depth and character == "{" and message[at - 1] != "$"):
            depth += 1
            parts.append("")
        elif character == "}" and depth:
            depth -= 1
        elif not depth:
            parts[-1] += character
    longest = re.sub(r"\\(.)", r"\1", max(parts, key=len)).strip(" .,:;()")
    return " ".join(longest.split(" ")[:5]).strip(" .,:;()")


@functools.cache
def sources() -> dict[str, str]:
    """The text of each source file by its path."""
    paths = [path.relative_to(template.SOURCE) for path in sorted(template.SOURCE.rglob("*"))]
    return {
        path.as_posix(): (template.SOURCE / path).read_text(encoding="utf-8")
        for path in paths
        if path.suffix in (".ts", ".mjs") and "tests" not in path.parts
    }


@functools.cache
def messages() -> list[tuple[str, str]]:
    found = [
        (name, literal(text, match.end()))
        for name, text in sources().items()
        if not FHIR_SERVER.search(name)
        for match in BEGINNINGS.finditer(text)
    ]
    return sorted(set(found))


def searchable(page: Path) -> str:
    return page.read_text(encoding="utf-8").replace("\\|", "|")


@pytest.fixture(scope="module")
def pages(baked: Callable[..., Path]) -> dict[bool, str]:
    """What can be looked up: always, and also with the sync bots."""
    docs = baked(example_bots="none") / "docs"
    pages = ("troubleshooting.md", "updating.md", "adopting.md", "testing.md")
    always = "".join(searchable(docs / page) for page in pages)
    return {False: always, True: always + searchable(baked() / "docs" / "syncing-messages.md")}


def test_every_error_message_is_explained(pages: dict[bool, str]) -> None:
    missing = []
    for name, message in messages():
        if any(re.search(pattern, message) for pattern in LEFT_OUT):
            continue
        groups = [row for pattern, row in GROUPS.items() if re.search(pattern, message)]
        wanted = groups[0] if groups else fixed_part(message)
        if wanted not in pages[name.startswith(".overlays")]:
            missing.append(f"{name}: explain in docs/troubleshooting.md: {wanted}")
    assert not missing, "\n".join(missing)


def test_messages_made_elsewhere_are_explained(pages: dict[bool, str]) -> None:
    texts = sources()
    for name, parts in ELSEWHERE.items():
        for part in parts:
            source = re.sub(r"[`'\"]\s*\+\s*[`'\"]", "", texts[name])
            assert part in source, f"{name} does not say so any more: {part}"
            assert part.strip(" :") in pages[name.startswith(".overlays")], f"{name}: {part}"


def test_what_the_collection_relies_on() -> None:
    """It finds many, no pattern is left over, and a message is cut as meant."""
    found = [message for _, message in messages()]
    assert len(found) > 90
    for pattern in [*GROUPS]:
        assert any(re.search(pattern, message) for message in found), pattern
    assert (
        fixed_part("${a} is not there, so ${b.map(({ c }) => `${c}`)} waits.") == "is not there, so"
    )
    assert fixed_part("one two three four five six") == "one two three four five"
    assert literal("f(`a ${b ? `c` : 'd'} e`)", 2) == "a ${b ? `c` : 'd'} e"
    assert literal("f('a ' +\n  `${b} ` + 'c')", 2) == "a ${b} c"


def test_linters_words_are_explained(pages: dict[bool, str]) -> None:
    """Each message that the linter's configuration adds begins with words of the page."""
    texts = sources()
    said = {
        *re.findall(r"message: '([^']*)'", texts["oxlint.config.ts"]),
        *re.findall(r"message: `([^$`]*)", texts["tools/src/bundling/lint-rules.ts"]),
    }
    assert len(said) > 2
    for message in said:
        first = re.split(r"[:,.]", message)[0]
        assert first in pages[False], message


def test_the_runtimes_own_words_are_explained(pages: dict[bool, str]) -> None:
    for words in (
        "exports.handler is not a function",
        "console.error is not a function",
        "is not defined",
    ):
        assert words in pages[False]
