"""The brief of a round: what an agent is told, as data and as words."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from string import Template

from pytest_vibeserve.target import Target
from vibeserve_loop import lineage
from vibeserve_loop.decision import gain_text
from vibeserve_loop.records import Round, Task
from vibeserve_loop.roles import Brief

SHOWN_ROUNDS = 12


def write_brief(number: int, task: Task, rounds: Sequence[Round], target: Target, seed: int) -> Brief:
    """The brief for one round's agent; the same rounds give the same words."""
    objective = target.folder / "OBJECTIVE.md"
    words = {
        "number": str(number),
        "hypothesis": task.hypothesis,
        "issues": _listed([f"{issue.name} (weight {issue.weight:.2f}): {issue.text}" for issue in task.issues]),
        "target": target.name,
        "objective": objective.read_text(encoding="utf-8").strip() if objective.is_file() else target.summary,
        "headline": _headline(target),
        "incumbent": _incumbent(rounds, task.base),
        "failures": _listed(_failures(rounds)),
        "history": _listed([_told(record) for record in rounds[-SHOWN_ROUNDS:]]),
    }
    template = Template((files("vibeserve_loop") / "prompts" / "brief.md").read_text(encoding="utf-8"))
    return Brief(number, task, tuple(rounds), target, seed, template.substitute(words))


def _headline(target: Target) -> str:
    headline = target.headline
    better = "higher" if headline.direction == "max" else "lower"
    return f"{headline.metric} at {headline.load} ({headline.unit}, {better} is better)"


def _incumbent(rounds: Sequence[Round], base: int) -> str:
    record = rounds[base]
    names = ", ".join(sorted(lineage.applied(rounds, record))) or "nothing beyond the starter"
    found = record.assessment.headline if record.assessment else None
    value = f"; {found.value:.1f} {found.unit} [{found.low:.1f}, {found.high:.1f}]" if found else ""
    return f"round {base}, commit {record.commit[:12]}: {names}{value}"


def _failures(rounds: Sequence[Round]) -> list[str]:
    told = []
    for record in rounds[-SHOWN_ROUNDS:]:
        for check in record.assessment.failed if record.assessment else ():
            example = f"; for example {check.example}" if check.example else ""
            told.append(f"round {record.round}, {check.name}: {check.detail}{example}")
    return told


def _told(record: Round) -> str:
    what = record.work.summary if record.work else record.task.hypothesis
    found = record.assessment.comparison if record.assessment else None
    gain = f", {gain_text(found.gain, found.low, found.high)}" if found else ""
    return f"round {record.round}: {what}: {record.decision.ruling}{gain} ({record.decision.reason})"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "- none"
