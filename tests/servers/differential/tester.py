"""Runs sequences against both servers, groups what differs, and makes examples small."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from tests.servers.differential.compare import Difference, brief, compare
from tests.servers.differential.sequences import generate
from tests.servers.differential.server import Server
from tests.servers.differential.steps import Step

Group = tuple[str, str]  # the kind of a step, and the aspect in which the answers differ


@dataclass
class Example:
    """The shortest sequence seen that ends with a step of the group."""

    steps: list[Step]
    difference: Difference
    count: int = 1


@dataclass
class Report:
    """What a run found."""

    seed: str
    sequences: int = 0
    equal_sequences: int = 0
    requests: int = 0
    equal_requests: int = 0
    groups: dict[Group, Example] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The share of requests that both servers answered alike."""
        return self.equal_requests / max(self.requests, 1)

    def summary(self) -> str:
        return (
            f"{self.equal_requests} of {self.requests} requests ({self.share:.2%}) and "
            f"{self.equal_sequences} of {self.sequences} sequences equal, seed {self.seed}"
        )

    def describe(self) -> str:
        """List the groups of differences, each with its requests and both values."""
        lines = [self.summary()]
        for (kind, aspect), example in sorted(self.groups.items(), key=lambda item: -item[1].count):
            lines.append(f"\n{example.count} x {kind}: {aspect}")
            for step in example.steps:
                headers = f" {json.dumps(step.headers)}" if step.headers else ""
                lines.append(f"    {step.method} {step.path}{headers} {brief(step.body)}")
            lines.append(f"    local: {example.difference.local}")
            lines.append(f"    real:  {example.difference.real}")
        return "\n".join(lines)


def run_sequence(
    steps: Iterable[Step], local: Server, real: Server
) -> list[tuple[Step, list[Difference]]]:
    """Send a sequence to both servers; return the steps that both could send, with what differs.

    It ends with the first write that differs: the servers are no longer in the same state then.
    """
    ids = {"u1": str(uuid.uuid4()), "u2": str(uuid.uuid4()), "salt": "zq" + uuid.uuid4().hex[:6]}
    for server in (local, real):
        server.begin(ids)
    result = []
    for index, step in enumerate(steps):
        mine, theirs = local.send(step, index), real.send(step, index)
        if mine is None or theirs is None:
            continue
        differences = compare(step, mine, theirs)
        result.append((step, differences))
        if differences and step.method != "GET":
            break
    for server in (local, real):
        server.clean_up()
    return result


def run(local: Server, real: Server, sequences: int, seed: str) -> Report:
    """Run so many random sequences; the same seed gives the same sequences."""
    report = Report(seed)
    for number in range(sequences):
        steps = generate(Random(f"{seed}/{number}"))  # noqa: S311 - requests for a test
        result = run_sequence(steps, local, real)
        report.sequences += 1
        report.requests += len(result)
        report.equal_requests += sum(not differences for _, differences in result)
        report.equal_sequences += not any(differences for _, differences in result)
        for step, differences in result:
            for difference in differences:
                sent = steps[: steps.index(step) + 1]
                _add_example(report, step, difference, sent)
    return report


def _add_example(report: Report, step: Step, difference: Difference, steps: list[Step]) -> None:
    group = (step.kind, difference.aspect)
    known = report.groups.get(group)
    if known is None:
        report.groups[group] = Example(steps, difference)
        return
    known.count += 1
    if len(steps) < len(known.steps):
        known.steps, known.difference = steps, difference


def shrink(steps: list[Step], group: Group, local: Server, real: Server) -> list[Step]:
    """Drop steps, from the end to the beginning, as long as the difference still shows."""
    for index in range(len(steps) - 2, -1, -1):
        shorter = steps[:index] + steps[index + 1 :]
        result = run_sequence(shorter, local, real)
        found = {(step.kind, one.aspect) for step, differences in result for one in differences}
        if group in found:
            steps = shorter
    return steps
