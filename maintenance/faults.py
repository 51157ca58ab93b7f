"""Faults to put into the template by hand: each must be caught by a test of `make test-fast`.

`python -m maintenance.try_faults` puts in one after the other and runs the tests that should fail.
Add a fault when you add a rule that a later change could break without anybody seeing it.
"""

from __future__ import annotations

from dataclasses import dataclass

BASE = "{{cookiecutter.project_slug}}"
OVERLAYS = f"{BASE}/.overlays"
EXTENSIONS = "template_extensions.py"
PRE_HOOK = "hooks/pre_gen_project.py"
POST_HOOK = "hooks/post_gen_project.py"
VERSIONS = "needs_cookiecutter_2_1_or_cruft_2_16.py"

ANSWERS = "tests/unit/test_answers.py"
QUESTIONS = "tests/unit/test_questions.py"
PRE_HOOK_TESTS = "tests/unit/test_pre_gen_hook.py"
POST_HOOK_TESTS = "tests/unit/test_post_gen_hook.py"
VERSION_TESTS = "tests/unit/test_versions.py"
HOSTILE = "tests/bake/test_hostile.py"
MATRIX = "tests/bake/test_matrix.py"
OVERLAY_TESTS = "tests/bake/test_overlays.py"
PINS = "tests/bake/test_pins.py"
README = "tests/bake/test_readme.py"
WORKFLOWS = "tests/bake/test_workflows.py"


@dataclass(frozen=True)
class Fault:
    """A change of one text in one file, and the tests that must then fail."""

    what: str
    path: str
    old: str
    """Occurs exactly once in the file."""
    new: str
    caught_by: str
    """A file of tests."""


FAULTS = [
    # git
    Fault("the first commit is signed", POST_HOOK, ', "--no-gpg-sign")', ")", POST_HOOK_TESTS),
    Fault("the user's git hooks run", POST_HOOK, '"--no-verify", ', "", POST_HOOK_TESTS),
    Fault("programs may ask", POST_HOOK, "stdin=subprocess.DEVNULL", "stdin=None", POST_HOOK_TESTS),
    Fault(
        "a commit under cruft",
        POST_HOOK,
        "if not json.loads(UNDER_CRUFT):",
        "if True:",
        POST_HOOK_TESTS,
    ),
    Fault(
        "commands are printed for cruft's comparison",
        POST_HOOK,
        "elif not is_for_comparison(project):",
        "else:",
        POST_HOOK_TESTS,
    ),
    Fault(
        "GIT_DIR of a hook is obeyed",
        POST_HOOK,
        'if not name.startswith("GIT_") or name.startswith(kept)',
        "if name",
        POST_HOOK_TESTS,
    ),
    Fault(
        "a nested repository", POST_HOOK, "if outer and not", "if False and not", POST_HOOK_TESTS
    ),
    Fault(
        "no repository in a folder that the outer one ignores",
        POST_HOOK,
        ' and not run(git, "check-ignore", "--quiet", str(project)).succeeded:',
        ":",
        POST_HOOK_TESTS,
    ),
    Fault(
        "a nested repository where git refuses to read the outer one",
        POST_HOOK,
        'if git_folder.is_file() or (git_folder / "HEAD").is_file():',
        'if run("git", "-C", str(folder), "rev-parse").succeeded:',
        POST_HOOK_TESTS,
    ),
    Fault(
        "git's first line instead of its last",
        POST_HOOK,
        "return lines[-1].strip() if lines",
        "return lines[0].strip() if lines",
        POST_HOOK_TESTS,
    ),
    Fault(
        "a second commit over a repository",
        POST_HOOK,
        'if (project / ".git").exists():',
        "if False:",
        POST_HOOK_TESTS,
    ),
    Fault("another first branch", POST_HOOK, "init.defaultBranch=main", "a.b=c", POST_HOOK_TESTS),
    # npm
    Fault("npm needs the network", POST_HOOK, '"--prefer-offline", ', "", POST_HOOK_TESTS),
    Fault("npm never stops", POST_HOOK, ", limit_s=NPM_LIMIT_S)", ")", POST_HOOK_TESTS),
    Fault(
        "npm omits dev dependencies",
        POST_HOOK,
        '"--include=dev", ',
        "",
        POST_HOOK_TESTS,
    ),
    Fault("npm only pretends", POST_HOOK, ', "--no-dry-run")', ")", POST_HOOK_TESTS),
    Fault(
        "missing packages are not noticed",
        POST_HOOK,
        'if not run(node, esbuild, "--version").succeeded:',
        "if False:",
        POST_HOOK_TESTS,
    ),
    Fault("Node 24.1 is accepted", POST_HOOK, "minor >= 2", "minor >= 1", POST_HOOK_TESTS),
    Fault("Node 25 is accepted", POST_HOOK, "or major == 26", "or major >= 25", POST_HOOK_TESTS),
    Fault(
        "Ctrl+C in npm ends the hook",
        POST_HOOK,
        '    except KeyboardInterrupt:\n        return Result(False, "stopped by Ctrl+C")\n',
        "",
        POST_HOOK_TESTS,
    ),
    Fault(
        "a late failure destroys the repository",
        POST_HOOK,
        "except (Exception, KeyboardInterrupt) as error:",
        "except ZeroDivisionError as error:",
        POST_HOOK_TESTS,
    ),
    # Overlays
    Fault(
        "the runtime is not set",
        POST_HOOK,
        '            bot["runtimeVersion"] = runtime\n',
        "",
        POST_HOOK_TESTS,
    ),
    Fault(
        "overlays are left behind",
        POST_HOOK,
        "    shutil.rmtree(staging)\n",
        "",
        POST_HOOK_TESTS,
    ),
    Fault(
        "two bots write the same resources",
        POST_HOOK,
        '                bot["subscriptions"] = []\n',
        "                pass\n",
        POST_HOOK_TESTS,
    ),
    Fault(
        "needed overlays are not added",
        POST_HOOK,
        "            choose(needed)\n",
        "            pass\n",
        POST_HOOK_TESTS,
    ),
    Fault(
        "read-only files stay read-only",
        POST_HOOK,
        ".chmod(mode | 0o200)",
        ".chmod(mode)",
        POST_HOOK_TESTS,
    ),
    Fault(
        "JSON is not as prettier formats it",
        POST_HOOK,
        "if column + len(line) < JSON_WIDTH:",
        "if column + len(line) <= JSON_WIDTH:",
        POST_HOOK_TESTS,
    ),
    Fault(
        "the manifest has another hash",
        POST_HOOK,
        "hashlib.sha256((project / path).read_bytes())",
        "hashlib.sha256(path.name.encode())",
        MATRIX,
    ),
    Fault(
        "the notice of an unfinished repository stays",
        POST_HOOK,
        'remove_notice(project / "README.md")',
        "pass",
        POST_HOOK_TESTS,
    ),
    Fault(
        "no means yes in Cookiecutter 2.1",
        EXTENSIONS,
        "plain[name] = _as_boolean(plain[name])",
        "pass",
        POST_HOOK_TESTS,
    ),
    # Existing folders
    Fault(
        "-s overwrites files of overlays",
        POST_HOOK,
        "        if existing.keeps(path):\n            continue\n",
        "",
        POST_HOOK_TESTS,
    ),
    Fault(
        "-s adds bots twice",
        POST_HOOK,
        'if not existing.keeps(Path("medplum.config.json")):',
        "if True:",
        POST_HOOK_TESTS,
    ),
    Fault(
        "the manifest names files that were skipped",
        POST_HOOK,
        "        if not existing.keeps(path)\n",
        "",
        POST_HOOK_TESTS,
    ),
    Fault(
        "copies are not named if the disk is full",
        POST_HOOK,
        "; your versions of its files are in {existing.copies}",
        "",
        POST_HOOK_TESTS,
    ),
    Fault(
        "a read-only file stops Cookiecutter in the middle",
        PRE_HOOK,
        "(project / path).exists() and not os.access(project / path, os.W_OK)",
        "False",
        PRE_HOOK_TESTS,
    ),
    Fault(
        "a folder hides a file of the template",
        PRE_HOOK,
        "if (project / path).is_dir():",
        "if False:",
        PRE_HOOK_TESTS,
    ),
    Fault(
        "copies of unchanged files stay",
        POST_HOOK,
        "            (copies / path).unlink()\n",
        "            pass\n",
        POST_HOOK_TESTS,
    ),
    Fault(
        "copies are compared by size and time",
        POST_HOOK,
        ", shallow=False)",
        ")",
        POST_HOOK_TESTS,
    ),
    Fault(
        "a link is copied instead of its target",
        PRE_HOOK,
        "shutil.copyfile(project / path, folder / path)",
        "shutil.copyfile(project / path, folder / path, follow_symlinks=False)",
        PRE_HOOK_TESTS,
    ),
    Fault(
        "earlier copies are overwritten",
        PRE_HOOK,
        "            folder.mkdir()\n",
        "            folder.mkdir(exist_ok=True)\n",
        PRE_HOOK_TESTS,
    ),
    Fault(
        "files of overlays are not copied",
        PRE_HOOK,
        'elif relative.parts[2:3] == ("files",):',
        "elif False:",
        PRE_HOOK_TESTS,
    ),
    Fault(
        "a folder without files of the template gets a staging folder",
        PRE_HOOK,
        "    if not existing:\n        return\n",
        "",
        PRE_HOOK_TESTS,
    ),
    Fault(
        "copies that failed stop nothing",
        PRE_HOOK,
        'nothing was changed", file=sys.stderr)\n        sys.exit(1)',
        'nothing was changed", file=sys.stderr)\n        sys.exit(0)',
        PRE_HOOK_TESTS,
    ),
    Fault(
        "a wrong answer of a replay is taken",
        PRE_HOOK,
        "    if wrong_answer:",
        "    if False:",
        PRE_HOOK_TESTS,
    ),
    Fault(
        "a choice that does not exist is taken from a replay",
        EXTENSIONS,
        "isinstance(choices, list) and given[question] not in choices",
        "False",
        ANSWERS,
    ),
    Fault(
        "a bot waits for a resource type that does not exist",
        f"{OVERLAYS}/hello-patient-bot/overlay.json",
        '"criteria": "Patient"',
        '"criteria": "Patiend"',
        OVERLAY_TESTS,
    ),
    Fault(
        "a setting of a bot that does not exist",
        f"{OVERLAYS}/hapi-reconcile-bot/overlay.json",
        '"cron": ',
        '"schedule": ',
        OVERLAY_TESTS,
    ),
    # What is printed
    Fault(
        "cd without quotes",
        POST_HOOK,
        "{shlex.quote(min(relative, str(project), key=len))}",
        "{min(relative, str(project), key=len)}",
        POST_HOOK_TESTS,
    ),
    Fault(
        "colors in a file",
        POST_HOOK,
        'sys.stdout.isatty() and not os.environ.get("NO_COLOR")',
        "True",
        POST_HOOK_TESTS,
    ),
    # Answers
    Fault(
        "single quotes in the command to recreate",
        EXTENSIONS,
        """.replace("'", "\\\\u0027")""",
        "",
        ANSWERS,
    ),
    Fault("| is not escaped in Markdown", EXTENSIONS, "<>&#|~$])", "<>&#~$])", ANSWERS),
    Fault("$ is not escaped in Markdown", EXTENSIONS, "<>&#|~$])", "<>&#|~])", ANSWERS),
    Fault(
        "@name becomes a link in Markdown",
        EXTENSIONS,
        """    text = re.sub(r"@(?=\\w)", "@<!-- -->", text)\n""",
        "",
        ANSWERS,
    ),
    Fault(
        ":smile: becomes a picture in Markdown",
        EXTENSIONS,
        """    text = re.sub(r":(?=[\\w+-]+:)", ":<!-- -->", text)\n""",
        "",
        ANSWERS,
    ),
    Fault(
        "quotes are not escaped in JSON",
        EXTENSIONS,
        "return json.dumps(str(value), ensure_ascii=False)",
        "return f'\"{value}\"'",
        ANSWERS,
    ),
    Fault("credentials in an address", EXTENSIONS, 'if "@" in text:', "if False:", ANSWERS),
    Fault(
        "credentials are shown",
        EXTENSIONS,
        'shown = "" if secret else',
        "shown =",
        ANSWERS,
    ),
    Fault(
        "patient data unencrypted",
        EXTENSIONS,
        'if scheme == "http" and not _is_private(host):',
        "if False:",
        ANSWERS,
    ),
    Fault("api// keeps its slashes", EXTENSIONS, '.path.rstrip("/")', ".path", ANSWERS),
    Fault("template code in an answer", EXTENSIONS, "if JINJA.search(text):", "if False:", ANSWERS),
    Fault(
        "text with another direction",
        EXTENSIONS,
        "if DIRECTION_OVERRIDE.search(text):",
        "if False:",
        ANSWERS,
    ),
    Fault(
        "É in a C locale is a control character",
        EXTENSIONS,
        "if NOT_UTF8.search(text):",
        "if False:",
        ANSWERS,
    ),
    Fault("a reserved folder", EXTENSIONS, '"node_modules", ', "", ANSWERS),
    Fault(
        "a refusal ends with 0", EXTENSIONS, "raise SystemExit(1)", "raise SystemExit(0)", ANSWERS
    ),
    Fault(
        "no hint how to keep the other answers",
        EXTENSIONS,
        "if given and sys.stdin.isatty():",
        "if False:",
        ANSWERS,
    ),
    Fault(
        "the last version instead of the commit",
        EXTENSIONS,
        'if f"tag: {tag}" in references.split(", ") else commit',
        "if references is not None else None",
        ANSWERS,
    ),
    Fault(
        "a zip file names no commit",
        ".gitattributes",
        "template_extensions.py export-subst",
        "template_extensions.py",
        ANSWERS,
    ),
    Fault(
        "a signature in the command to recreate",
        EXTENSIONS,
        '"-c", "log.showSignature=false", ',
        "",
        ANSWERS,
    ),
    Fault(
        "an answer leaves its literal",
        POST_HOOK,
        "{{ cookiecutter | plain_answers | tojson }}",
        "{{ cookiecutter | plain_answers }}",
        POST_HOOK_TESTS,
    ),
    Fault(
        "a check is not called",
        "cookiecutter.json",
        "{{ cookiecutter.author | one_line('author') }}",
        "{{ cookiecutter.author }}",
        QUESTIONS,
    ),
    Fault(
        "a choice without a label",
        "cookiecutter.json",
        '      "MIT": "MIT: open source, short",\n',
        "",
        QUESTIONS,
    ),
    # Versions
    Fault(
        "an old cruft", VERSIONS, "OLDEST_CRUFT = (2, 16)", "OLDEST_CRUFT = (2, 14)", VERSION_TESTS
    ),
    Fault("an old Python", VERSIONS, "if python < OLDEST_PYTHON:", "if False:", VERSION_TESTS),
    Fault(
        "the versions are checked last",
        "cookiecutter.json",
        '    "needs_cookiecutter_2_1_or_cruft_2_16.CheckVersions",\n'
        '    "template_extensions.MedplumBots"\n',
        '    "template_extensions.MedplumBots",\n'
        '    "needs_cookiecutter_2_1_or_cruft_2_16.CheckVersions"\n',
        VERSION_TESTS,
    ),
    # The description of overlays
    Fault(
        "chosen_by names no choice",
        f"{OVERLAYS}/hello-patient-bot/overlay.json",
        '["none"]',
        '["nothing"]',
        OVERLAY_TESTS,
    ),
    Fault(
        "needs names no overlay",
        f"{OVERLAYS}/hapi-sync-simple-bot/overlay.json",
        '"needs": ["hapi-sync-common"]',
        '"needs": ["hapi-sync-commons"]',
        OVERLAY_TESTS,
    ),
    Fault(
        "a secret was removed",
        f"{OVERLAYS}/hapi-sync-bot/overlay.json",
        '        {\n          "name": "HAPI_SCOPE",\n          "optional": true\n        },\n',
        "",
        OVERLAY_TESTS,
    ),
    Fault(
        "a bot is missing in the generated README",
        f"{BASE}/README.md",
        "- `hapi-reconcile-bot`: runs",
        "- It runs",
        OVERLAY_TESTS,
    ),
    Fault(
        "a script of a command that does not exist",
        f"{OVERLAYS}/hapi-sync-bot/overlay.json",
        "medplum-bots.cjs resync",
        "medplum-bots.cjs resynchronize",
        OVERLAY_TESTS,
    ),
    # Files of a generated repository
    Fault(
        "the author is not in the license",
        f"{OVERLAYS}/license-apache/files/LICENSE",
        "{{ cookiecutter.author or cookiecutter.project_name ~ ' authors' }}",
        "us",
        MATRIX,
    ),
    Fault("a file without a final newline", f"{BASE}/.nvmrc", "24\n", "24", MATRIX),
    Fault("no bots on Windows", f"{BASE}/.gitattributes", "eol=lf", "eol=crlf", MATRIX),
    Fault(
        "a question is missing in README.md",
        "README.md",
        "| `ci_provider` | `github`, `gitlab` or `none` | `github` |\n",
        "",
        README,
    ),
    Fault(
        "an action by its tag",
        f"{OVERLAYS}/ci-github/files/.github/workflows/rollback.yml",
        "actions/checkout@",
        "actions/checkout@v7 # ",
        PINS,
    ),
    Fault(
        "credentials stay after checkout",
        f"{OVERLAYS}/ci-github/files/.github/workflows/rollback.yml",
        "persist-credentials: false",
        "persist-credentials: true",
        WORKFLOWS,
    ),
    Fault(
        "a workflow runs what a title says",
        ".github/workflows/ci.yml",
        "      - run: make demo\n",
        "      - run: echo '${{ github.event.pull_request.title }}'\n",
        WORKFLOWS,
    ),
    Fault(
        "GitHub refuses the pull request with new pins",
        ".github/workflows/pins.yml",
        "          git restore .github/workflows\n",
        "",
        WORKFLOWS,
    ),
    Fault(
        "another Node in package.json than in its lock file",
        f"{BASE}/package.json",
        '"node": "^24.2.0 || ^26.0.0"',
        '"node": "^24.2.0"',
        PINS,
    ),
    Fault("a pin is a range", f"{BASE}/package.json", '"prettier": "', '"prettier": "^', PINS),
    Fault(
        "Yarn is not stopped",
        f"{BASE}/tools/bin/npm-is-needed.cjs",
        "process.exitCode = 1;\n",
        "",
        PINS,
    ),
]
