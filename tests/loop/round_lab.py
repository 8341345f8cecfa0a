"""Rounds made by hand, for tests of what is folded from them."""

from __future__ import annotations

from typing import Any

from pytest_vibeserve.report import Check, Comparison, Hint, Measurement
from vibeserve_loop.records import AgentResult, Assessment, Decision, Round, Spend, Task

HINTS = {"step-overhead": 10.0, "serial-service": 4.0, "idle-cores": 1.5}


def measured(value: float, metric: str = "output_throughput", *, width: float = 0.02) -> Measurement:
    """A measurement of a relative half-width; the throughput is the headline."""
    direction = "max" if metric == "output_throughput" else "min"
    return Measurement(
        metric=metric, load="c16", value=value, low=value * (1 - width), high=value * (1 + width), unit="tok/s",
        direction=direction, headline=direction == "max",
    )  # fmt: skip


def compared(gain: float) -> Comparison:
    """A comparison with a gain, two percent to either side."""
    told = "better" if gain > 1.03 else "worse" if gain < 0.97 else "no difference shown"
    return Comparison(
        baseline="b", baseline_tree="t", metric="output_throughput", load="c16", gain=gain, low=gain * 0.98,
        high=gain * 1.02, pairs=4, conclusion=told, baseline_value=100, candidate_value=100 * gain, unit="tok/s",
    )  # fmt: skip


def assessed(gain: float, *, value: float = 100.0, hints: dict[str, float] | None = None) -> Assessment:
    """What the gate says of correct code."""
    shown = HINTS if hints is None else hints
    found = tuple(Hint(name=name, value=worth, text=f"{name} is high") for name, worth in shown.items())
    return Assessment(
        outcome="accepted", reason="every check passed", measurements=(measured(value),), comparison=compared(gain),
        hints=found,
    )  # fmt: skip


def refused() -> Assessment:
    """What the gate says of wrong code."""
    check = Check(name="answers.greedy", result="fail", detail="3 of 24 answers differ", example="prompt 7")
    return Assessment(outcome="rejected", reason="answers.greedy: 3 of 24 answers differ", failed=(check,))


def starter(**more: Any) -> Round:
    """The first round of a run."""
    return a_round(0, Task(kind="starter"), assessed(1.0), **more)


def a_round(number: int, task: Task, found: Assessment | None = None, **more: Any) -> Round:
    """A round; its ruling is what the comparison says unless one is given."""
    better = task.kind == "starter" or bool(found and found.comparison and found.comparison.conclusion == "better")
    ruling = more.pop("ruling", "accept" if better else "reject" if found else "void")
    spend = Spend(seconds=more.pop("agent_s", 1.0), usd=more.pop("usd", 0.0), tokens_in=more.pop("tokens", 0))
    work = None
    if task.kind in ("work", "plan"):
        work = AgentResult(summary="did it", techniques=more.pop("techniques", ()), spend=spend)
    values: dict[str, Any] = {
        "round": number, "task": task, "commit": f"c{number}", "tree": f"t{number}", "work": work, "assessment": found,
        "decision": Decision(ruling=ruling, reason=found.reason if found else "nothing was changed"),
        "started": 0.0, "wall_s": 60.0,
    }  # fmt: skip
    return Round(**{**values, **more})


def worked(number: int, gain: float, base: int = 0, **more: Any) -> Round:
    """A round of work with a gain over its base."""
    task = more.pop("task", Task(kind="work", base=base))
    return a_round(number, task, assessed(gain, value=more.pop("value", 100 * gain)), **more)
