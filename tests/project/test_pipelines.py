"""The pipelines for GitHub and GitLab fit their schemas, guard credentials, and do what they say.

The schemas come with check-jsonschema. (actionlint would check more, but its package on PyPI
downloads a binary from elsewhere while it is installed.) Commands run as the services run them,
each job in a fresh clone. The test replaces what only a service has (checkout, Node, artifacts,
approvals), and copies installed packages instead of running `npm ci`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import template
from tests.support.local_servers import servers

Baked = Callable[..., Path]
VARIABLES = {
    "MEDPLUM_PROJECT_ID": "a0a0a0a0-0000-4000-8000-000000000001",
    "MEDPLUM_CLIENT_ID": "a0a0a0a0-0000-4000-8000-000000000002",
    "MEDPLUM_CLIENT_SECRET": "local-only-not-a-secret",
}


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 -- only text
    return loaded


def workflows(project: Path) -> list[Path]:
    return sorted((project / ".github" / "workflows").glob("*.yml"))


def steps(workflow: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def test_github_knows_every_word(baked: Baked) -> None:
    files = [*workflows(baked()), *workflows(template.ROOT)]
    assert len(files) >= 2
    checker = template.command("check-jsonschema")
    template.run(checker, "--builtin-schema", "vendor.github-workflows", *files, cwd=template.ROOT)


def test_gitlab_knows_every_word(baked: Baked) -> None:
    file = baked(ci_provider="gitlab") / ".gitlab-ci.yml"
    schema = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    template.run(template.command("check-jsonschema"), *schema, file, cwd=template.ROOT)


def test_github_jobs_have_the_least_rights(baked: Baked) -> None:
    for path in workflows(baked()):
        workflow = load(path)
        assert workflow["permissions"] == {"contents": "read"}, path
        assert "pull_request_target" not in workflow["on"], (
            "it would run a fork's code with our credentials"
        )
        for job in workflow["jobs"].values():
            assert "permissions" not in job
            assert int(job["timeout-minutes"]) <= 20
        for step in steps(workflow):
            if "uses" in step:
                assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]), step
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] == "false"
            assert "${{" not in step.get("run", ""), (
                "a value that someone else writes could end the command"
            )


def test_github_gives_secrets_only_to_the_step_that_needs_them(baked: Baked) -> None:
    for path in workflows(baked()):
        for job in load(path)["jobs"].values():
            rest = {name: value for name, value in job.items() if name != "steps"}
            assert "secrets." not in str(rest), path
            for step in job["steps"]:
                if "secrets." in str(step):
                    assert re.search(r"plan|rollback|setup-bots", step["run"]), step


def test_github_forks_get_no_credentials(baked: Baked) -> None:
    """Jobs with credentials do not run for forks, and one at a time where they write."""
    jobs = load(baked() / ".github" / "workflows" / "ci.yml")["jobs"]
    holders = {name: job for name, job in jobs.items() if "secrets." in str(job)}
    assert set(holders) == {"plan", "deploy"}
    assert holders["plan"]["needs"] == "test"
    assert holders["deploy"]["needs"] == ["test", "plan"]
    fork = {
        "event_name": "pull_request",
        "event": {"pull_request": {"head": {"repo": {"full_name": "else/fork"}}}},
    }
    for job in holders.values():
        assert not expression(job["if"], {"github": {**fork, "repository": "us/bots"}})
    rollback = load(baked() / ".github" / "workflows" / "rollback.yml")
    assert list(rollback["on"]) == ["workflow_dispatch"]
    for job in (holders["deploy"], *rollback["jobs"].values()):
        assert job["concurrency"]["group"].startswith("deploy-")
        assert job["concurrency"]["cancel-in-progress"] == "false"


def test_gitlab_guards_its_environments(baked: Baked) -> None:
    pipeline = load(baked(ci_provider="gitlab") / ".gitlab-ci.yml")
    own = "$CI_MERGE_REQUEST_SOURCE_PROJECT_PATH == $CI_PROJECT_PATH"
    holders = {
        name: job
        for name, job in pipeline.items()
        if isinstance(job, dict) and "environment" in job
    }
    readers = {"plan", "plan-production", "drift", "drift-production"}
    assert set(holders) == {*readers, "staging", "production", "rollback"}
    for name, job in holders.items():
        (rule,) = job["rules"]
        if name in readers:
            assert job["environment"]["action"] == "verify"
            assert job["environment"]["name"].endswith("-plan"), (
                "the deploying client is not for plans"
            )
            assert own in rule["if"] or "merge_request" not in rule["if"]
        else:
            assert "merge_request" not in rule["if"]
            assert job["resource_group"] in (job["environment"]["name"], "$ROLLBACK_FROM")
    assert holders["production"]["rules"][0]["when"] == "manual"


def expression(text: str, context: Mapping[str, Any]) -> Any:
    """What GitHub makes of an expression of names, texts, ==, !=, && and ||."""

    def look_up(name: str) -> Any:
        value: Any = context
        for part in name.split("."):
            value = value.get(part, "") if isinstance(value, Mapping) else ""
        return value

    text = re.sub(r"^\$\{\{(.*)\}\}$", r"\1", text)
    parts = re.findall(r"'[^']*'|&&|\|\||[!=]=|!?\w+\(\)|[\w.-]+", text)
    words = {"&&": "and", "||": "or", "==": "==", "!=": "!="}
    # The jobs before it went well.
    words |= {"!failure()": "True", "!cancelled()": "True"}
    python = [
        words.get(part) or (part if part[0] == "'" else f"look_up({part!r})") for part in parts
    ]
    return eval(" ".join(python), {"look_up": look_up})  # noqa: S307 -- of our own workflow


def filled(value: Any, context: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(expression(found[1], context)), str(value))


@dataclass
class GitHub:
    """As much of GitHub as runs a workflow's jobs."""

    repository: Path
    install: Callable[[Path], None]
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)
    jobs_run: int = 0

    def run(self, file: str, job_name: str, **context: Any) -> tuple[int, str, str]:
        """Run a job in a fresh clone; return its exit code, what it printed and its summary."""
        workflow = load(self.repository / ".github" / "workflows" / file)
        job = workflow["jobs"][job_name]
        self.jobs_run += 1
        here = self.folder / f"{job_name}-{self.jobs_run}"
        template.git("clone", "--quiet", self.repository, here, cwd=self.folder)
        summary = self.folder / f"summary-{self.jobs_run}.md"
        summary.touch()
        context = {"vars": self.variables, "secrets": self.variables, **context}
        assert expression(job.get("if", "'always'"), context), f"{job_name} would not run"
        job_env = {name: filled(value, context) for name, value in job.get("env", {}).items()}
        printed = ""
        for step in job["steps"]:
            env = {
                **job_env,
                **{name: filled(value, context) for name, value in step.get("env", {}).items()},
            }
            if not expression(step.get("if", "'always'"), {**context, "env": env}):
                continue
            if "uses" in step:
                self.use(step["uses"].split("@")[0], step.get("with", {}), here)
            elif step["run"] == "npm ci":
                self.install(here)
            else:
                env["GITHUB_STEP_SUMMARY"] = str(summary)
                done = template.run("bash", "-e", "-c", step["run"], cwd=here, env=env, check=False)
                printed += f"$ {step['run']}\n{done.stdout}{done.stderr}"
                if done.returncode:
                    return done.returncode, printed, summary.read_text(encoding="utf-8")
        return 0, printed, summary.read_text(encoding="utf-8")

    def use(self, action: str, options: Mapping[str, str], here: Path) -> None:
        if action == "actions/upload-artifact":
            stored = self.folder / f"artifact-{self.jobs_run}"
            shutil.copytree(here / options["path"], stored)
            self.artifacts[options["name"]] = stored
        elif action == "actions/download-artifact":
            shutil.copytree(self.artifacts[options["name"]], here / options["path"])
        else:
            assert action in ("actions/checkout", "actions/setup-node"), action


@pytest.fixture(scope="module")
def bench(new_project: Callable[..., Path]) -> Callable[..., Path]:
    """Make a git repository with one commit for a pipeline to run on.

    Of its tests it has the one of the bundles: what matters here is that a pipeline runs tests.
    """

    def make(ci_provider: str) -> Path:
        project = new_project(ci_provider=ci_provider, example_bots="hapi-sync")
        for test in (project / "tests").rglob("*.test.ts"):
            if test.name != "bundles.test.ts":
                test.unlink()
        template.git("init", "--quiet", "--initial-branch=main", cwd=project)
        commit(project, "Start")
        return project

    return make


def commit(project: Path, message: str) -> str:
    template.git("add", "--all", cwd=project)
    template.git("commit", "--quiet", "--allow-empty", "--message", message, cwd=project)
    return template.git("rev-parse", "HEAD", cwd=project).strip()


def change_a_shared_module(project: Path) -> str:
    """Make its bundle another one, which does the same."""
    path = project / "src" / "shared" / "retry.ts"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r"(?m)^(const \w+ = )(\d[\d_]*);", r"\1Number.parseInt('\2');", text, count=1)
    assert changed != text
    path.write_text(changed, encoding="utf-8")
    return commit(project, "Say the same in other words")


def without_medplum() -> dict[str, str]:
    """No variables of the machine that runs the tests."""
    return {name: "" for name in os.environ if name.startswith("MEDPLUM_")}


def test_github_from_a_pull_request_to_a_rollback(
    bench: Callable[..., Path], install: Callable[[Path], None], tmp_path: Path
) -> None:
    project = bench("github")
    before = template.git("rev-parse", "HEAD", cwd=project).strip()
    with servers(project) as address:
        github = GitHub(project, install, tmp_path, variables={**VARIABLES, **address})
        push = {"github": {"event_name": "push"}}
        code, printed, _ = github.run("ci.yml", "test", **push)
        assert code == 0, printed
        code, printed, _ = github.run("ci.yml", "deploy", **push)
        assert (code, "Done: hapi-sync-bot." in printed) == (0, True), printed

        change_a_shared_module(project)
        pull = {"base": {"sha": before}, "head": {"repo": {"full_name": "us/bots"}}}
        request = {
            "github": {
                "event_name": "pull_request",
                "repository": "us/bots",
                "event": {"pull_request": pull},
            }
        }
        code, printed, summary = github.run("ci.yml", "test", **request)
        assert code == 0, printed
        assert "To deploy again: hapi-sync-bot" in summary
        assert "flowchart" in summary
        code, printed, summary = github.run("ci.yml", "plan", **request)
        assert code == 0, printed
        assert "src/shared/retry.ts changed" in summary
        release = {"github": {"event_name": "release"}}
        code, printed, summary = github.run("ci.yml", "plan", **release)
        assert (code, "### Plan for production" in summary) == (0, True), printed
        code, printed, summary = github.run("drift.yml", "drift", matrix={"target": "staging"})
        assert (code, "is not as it was deployed" in printed) == (2, True), printed

        code, printed, _ = github.run("ci.yml", "deploy", **push)
        assert (code, "src/shared/retry.ts changed" in printed) == (0, True), printed
        assert "esbuild" not in printed, "what was tested is what is deployed"
        code, printed, _ = github.run("ci.yml", "deploy", **push)
        assert (code, "Nothing to do." in printed) == (0, True), printed
        code, printed, _ = github.run("drift.yml", "drift", matrix={"target": "staging"})
        assert (code, "1 unchanged." in printed) == (0, True), printed

        commit(project, "Another commit")
        code, printed, _ = github.run("ci.yml", "deploy", **push)
        assert (code, "built from another commit" in printed) == (1, True), printed
        template.git("reset", "--quiet", "--hard", "HEAD~1", cwd=project)

        asked = {
            "environment": "staging",
            "bot": "hapi-sync-bot",
            "version": "",
            "release": "false",
        }
        code, printed, _ = github.run("rollback.yml", "rollback", inputs=asked)
        assert (code, "It is held there until" in printed) == (0, True), printed
        code, printed, _ = github.run("ci.yml", "deploy", **push)
        assert (code, "held" in printed) == (0, True), printed
        code, printed, _ = github.run(
            "rollback.yml", "rollback", inputs={**asked, "release": "true"}
        )
        assert (code, "is no longer held" in printed) == (0, True), printed


def test_github_without_a_server(
    bench: Callable[..., Path], install: Callable[[Path], None], tmp_path: Path
) -> None:
    """Staging may wait to be set up; a release that reaches nothing must not look like one."""
    project = bench("github")
    github = GitHub(project, install, tmp_path, artifacts={"dist": tmp_path / "dist"})
    (tmp_path / "dist").mkdir()
    head = template.git("rev-parse", "HEAD", cwd=project)
    (tmp_path / "dist" / "commit.txt").write_text(head, encoding="utf-8")
    code, printed, _ = github.run("ci.yml", "deploy", github={"event_name": "push"})
    assert (code, "::notice::" in printed) == (0, True), printed
    code, printed, _ = github.run("ci.yml", "deploy", github={"event_name": "release"})
    assert (code, "Error: " in printed) == (1, True), printed


def test_gitlab_from_a_change_to_a_rollback(
    bench: Callable[..., Path], install: Callable[[Path], None], tmp_path: Path
) -> None:
    project = bench("gitlab")
    before = template.git("rev-parse", "HEAD", cwd=project).strip()
    dist = tmp_path / "dist"

    def run(job_name: str, **variables: str) -> tuple[int, str]:
        """Run a job as GitLab does: in a fresh clone, with the artifacts of the jobs before it."""
        pipeline = load(project / ".gitlab-ci.yml")
        here = tmp_path / f"{job_name}-{len(list(tmp_path.iterdir()))}"
        template.git("clone", "--quiet", project, here, cwd=tmp_path)
        install(here)
        assert pipeline["default"]["before_script"] == ["npm ci --cache .npm --prefer-offline"]
        if dist.exists():
            shutil.copytree(dist, here / "dist")
        own_preparation = pipeline[job_name].get("before_script", [])
        preparation = [line for line in own_preparation if not line.startswith("npm ci ")]
        script = "\n".join([*preparation, *pipeline[job_name]["script"]])
        done = template.run(
            "bash", "-eo", "pipefail", "-c", script, cwd=here, env=variables, check=False
        )
        if pipeline[job_name].get("artifacts"):
            shutil.rmtree(dist, ignore_errors=True)
            shutil.copytree(here / "dist", dist)
        return done.returncode, done.stdout + done.stderr

    code, printed = run("test")
    assert code == 0, printed
    assert run("staging", **without_medplum())[0] == 0
    nothing_planned = 3
    assert run("plan", **without_medplum())[0] == nothing_planned
    assert run("drift-production", **without_medplum())[0] == nothing_planned
    code, printed = run("production", **without_medplum())
    assert (code, "Error: " in printed) == (1, True), printed
    with servers(project) as address:
        variables = {**VARIABLES, **address}
        code, printed = run("production", **variables)
        assert (code, "Done: hapi-sync-bot." in printed) == (0, True), printed
        template.git("tag", "v1.0.0", cwd=project)
        change_a_shared_module(project)
        code, printed = run("drift-production", **variables)
        assert (code, "1 unchanged." in printed) == (0, True), printed
        code, printed = run("test", CI_MERGE_REQUEST_DIFF_BASE_SHA=before)
        assert (code, "To deploy again: hapi-sync-bot" in printed) == (0, True), printed
        code, printed = run("plan", **variables)
        changes_found = int(
            load(project / ".gitlab-ci.yml")["plan"]["allow_failure"]["exit_codes"][0]
        )
        assert code == changes_found, printed
        code, printed = run("production", **variables)
        assert (code, "src/shared/retry.ts changed" in printed) == (0, True), printed
        code, printed = run("drift-production", **variables)
        assert code == changes_found, "production is not at its newest tag"
        asked = {"ROLLBACK_BOT": "hapi-sync-bot", "ROLLBACK_FROM": "production"}
        code, printed = run("rollback", **variables, **asked, ROLLBACK_REASON="two words")
        assert (code, "It is held there until" in printed) == (0, True), printed
        code, printed = run("drift-production", **variables)
        assert 'by a rollback ("two words")' in printed, printed
        code, printed = run("rollback", **variables, **asked, ROLLBACK_RELEASE="true")
        assert (code, "is no longer held" in printed) == (0, True), printed
