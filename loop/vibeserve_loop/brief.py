"""The brief of a round: what an agent is told, as data and as words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template

from pytest_vibeserve.target import Target
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.hints import told_insight
from vibeserve_loop.ledger.orders import steering
from vibeserve_loop.records import Round, Task
from vibeserve_loop.roles import Brief

SHOWN_ROUNDS = 12


def write_brief(number: int, task: Task, rounds: Sequence[Round], target: Target, seed: int) -> Brief:
    """The brief for one round's work; the same rounds give the same words."""
    words = {**common_words(number, task, rounds, target), "more": _work_facts(task, rounds)}
    return Brief(number, task, tuple(rounds), target, seed, filled("brief.md", words))


def common_words(number: int, task: Task, rounds: Sequence[Round], target: Target) -> dict[str, str]:
    """The words that every brief holds, by their names in the templates."""
    objective = target.folder / "OBJECTIVE.md"
    return {
        "number": str(number),
        "hypothesis": task.hypothesis,
        "issues": _listed([f"{issue.name} (weight {issue.weight:.2f}): {issue.text}" for issue in task.issues]),
        "target": target.name,
        "objective": objective.read_text(encoding="utf-8").strip() if objective.is_file() else target.summary,
        "headline": _headline(target),
        "incumbent": _incumbent(rounds, task.base),
        "failures": _listed(_failures(rounds)),
        "history": _listed([told(record) for record in rounds[-SHOWN_ROUNDS:]]),
    }


def filled(name: str, words: Mapping[str, str]) -> str:
    """A prompt with its words put in; a word that is missing is an error of this program."""
    return Template((files("vibeserve_loop") / "prompts" / name).read_text(encoding="utf-8")).substitute(words)


def sections(parts: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A heading and a list for each part that has lines."""
    return "".join(f"\n## {title}\n{_listed(lines)}\n" for title, lines in parts if lines)


def profile(record: Round) -> list[str]:
    """All that the gate measured of a round's code, hints first."""
    found = record.assessment
    if found is None:
        return []
    hints = [f"{hint.name} {hint.value:.2f}: {hint.text}" for hint in found.hints]
    values = [f"{m.metric} at {m.load}: {m.value:.2f} [{m.low:.2f}, {m.high:.2f}] {m.unit}" for m in found.measurements]
    return hints + values


def insight_of(rounds: Sequence[Round], record: Round) -> list[str]:
    """What the profiled pass saw inside a round's code, and what changed since its parent; nothing without one."""
    found = record.assessment.insight if record.assessment else None
    above = rounds[record.task.base].assessment if record.task.kind == "work" else None
    return told_insight(found, above.insight if above else None) if found else []


def _work_facts(task: Task, rounds: Sequence[Round]) -> str:
    """The sections that only some tasks have: the plan, what is mended, the profile, others' code, what people said."""
    parts: list[tuple[str, list[str]]] = []
    plan = task.proposal
    if plan:
        figure = f"{plan.expects.metric} {plan.expects.load} improves to x{plan.expects.at_least:.2f} or more"
        parts.append(("What counts as done", [plan.task, *plan.criteria, f"expected: {figure}"]))
    if task.start is not None:
        refused = rounds[task.start]
        why = _failures([refused]) or [refused.decision.reason]
        parts.append((f"Attempt {task.attempt}: mend the code of round {task.start}, which was refused", why))
    if plan is None or plan.profile:
        inside = insight_of(rounds, rounds[task.base])
        parts.append((f"Inside round {task.base}, by a profiled pass of its own", inside))
    if plan and plan.profile:
        parts.append((f"The whole profile of round {task.base}", profile(rounds[task.base])))
    shown = [f"{told(rounds[n])}; `git diff {rounds[task.base].commit} {rounds[n].commit}`" for n in task.inspirations]
    parts += [("Other code to learn from", shown), ("What people asked for", list(steering(rounds)))]
    return sections(parts)


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
    lines = []
    for record in rounds[-SHOWN_ROUNDS:]:
        for check in record.assessment.failed if record.assessment else ():
            example = f"; for example {check.example}" if check.example else ""
            lines.append(f"round {record.round}, {check.name}: {check.detail}{example}")
    return lines


def told(record: Round) -> str:
    """One round in one line, for an agent."""
    what = record.work.summary if record.work else record.task.hypothesis
    found = record.assessment.comparison if record.assessment else None
    gain = f", {gain_text(found.gain, found.low, found.high)}" if found else ""
    return f"round {record.round}: {what}: {record.decision.ruling}{gain} ({record.decision.reason})"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "- none"
