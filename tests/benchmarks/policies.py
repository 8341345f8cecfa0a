"""The three policies side by side on the embedded target: rounds, paid calls and gain, over many seeds.

    python tests/benchmarks/policies.py [--seeds 20] [--rounds 24]
    python tests/benchmarks/policies.py --real [--seeds 5] [--hours 0.16]

Without --real nothing is served: the loop is the real one (engine, git, record), the agent takes the skills' own order
of plans, and the gate replays effects.toml with the noise of a quick gate.  With --real each run is the command
`vibeserve-loop run tiny_llama`, one after another, and the gate measures.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "loop")]

from pytest_vibeserve.insight import Insight  # noqa: E402
from pytest_vibeserve.report import Comparison, Hint, Measurement  # noqa: E402
from pytest_vibeserve.target import Target, load_target  # noqa: E402
from vibeserve_loop import resolve  # noqa: E402
from vibeserve_loop.engine import Search  # noqa: E402
from vibeserve_loop.ledger import lineage  # noqa: E402
from vibeserve_loop.ledger.accounts import account  # noqa: E402
from vibeserve_loop.ledger.history import History  # noqa: E402
from vibeserve_loop.ledger.runs import RunFolder, create  # noqa: E402
from vibeserve_loop.planning.planner import propose_by_rule  # noqa: E402
from vibeserve_loop.planning.plans import plans  # noqa: E402
from vibeserve_loop.records import AgentResult, Assessment, Knobs, Round, Settings  # noqa: E402
from vibeserve_loop.roles import Charter, Crew  # noqa: E402
from vibeserve_loop.skills import Technique, techniques_for  # noqa: E402
from vibeserve_loop.workshop import Workshop  # noqa: E402
from vibeserve_loop.workspace import Workspace  # noqa: E402

EFFECTS = tomllib.loads(Path(__file__).with_name("effects.toml").read_text(encoding="utf-8"))
FACTORS = {name: float(fact["value"]) for name, fact in EFFECTS["factor"].items()}
NOT_AFTER = {"fused-projections": "compiled-step"}
STARTER_TOK_S = 94.1
MARKS = "applied.json"
# The original asks an orchestrator twice and a profiler once a round, then implementer and judge up to three times.
ORIGINAL_CALLS = (5, 8)


class ReplayAgent:
    """Chooses as the agent `recipes` does, and writes names instead of code; asked for a plan, it answers by rule."""

    def __init__(self, known: tuple[Technique, ...], charter: Charter) -> None:
        self._known, self._charter = known, charter

    def work(self, brief: Any, desk: Any) -> AgentResult:
        """Apply the first plan that applies, or write plan.json."""
        if brief.task.kind == "plan":
            return self._plan(brief, desk)
        task = brief.task
        if task.proposal and not task.techniques:
            named = tuple(task.proposal.task.removeprefix("apply ").split(" + "))
            task = task.model_copy(update={"techniques": named})
        skipped: list[str] = []
        for plan in plans(self._known, task, brief.rounds, brief.seed):
            marks = applied(desk.folder)
            unfit = [name for name in plan.names if NOT_AFTER.get(name) in {m.partition(":")[0] for m in marks}]
            if unfit:
                skipped += unfit
                continue
            skills = {name.partition(":")[0] for name in plan.names}
            kept = [mark for mark in marks if mark.partition(":")[0] not in skills]
            (desk.folder / MARKS).write_text(json.dumps([*kept, *plan.names]))
            return AgentResult(summary=" + ".join(plan.names), techniques=plan.names, skipped=tuple(skipped))
        return AgentResult(summary="nothing is left", skipped=tuple(skipped), exhausted=True)

    def _plan(self, brief: Any, desk: Any) -> AgentResult:
        best = lineage.incumbent(brief.rounds)
        assert best is not None
        task = propose_by_rule(brief.rounds, best, self._charter)
        stop = {"stop": "no technique is left that promises a gain"}
        answer: dict[str, Any] = stop
        if task and task.proposal:
            others = [
                plan for plan in plans(self._known, task, brief.rounds, brief.seed) if plan.names != task.techniques
            ]
            then = [
                task.proposal.model_copy(update={"task": f"apply {' + '.join(p.names)}", "board": ()})
                for p in others[:3]
            ]
            answer = {"proposal": task.proposal.model_dump(), "then": [p.model_dump() for p in then]}
        (desk.folder / "plan.json").write_text(json.dumps(answer))
        return AgentResult(summary="planned")


class ReplayGate:
    """The throughput that the factors give, with the noise of an interleaved comparison drawn from the run's seed."""

    def __init__(self, target: Target, seed: int, seen: str = "outside") -> None:
        """`seen` is what the gate tells beside its measurements: nothing, hints from outside, or an insight too."""
        self._target, self._draw, self._seen = target, random.Random(f"gate/{seed}"), seen

    def assess(self, case: Any) -> Assessment:
        """Accept always; better, when the interval at the case's own confidence is above 1."""
        value, marks = self.value(case.candidate), applied(case.candidate)
        hints = self.hints(marks) if self._seen != "nothing" else ()
        insight = self.insight(marks) if self._seen == "inside" else None
        headline = self._target.headline
        measured = Measurement(
            metric=headline.metric, load=headline.load, value=value, low=value * 0.95, high=value * 1.05,
            unit=headline.unit, direction=headline.direction, headline=True,
        )  # fmt: skip
        compared = self._compared(case, value) if case.baseline else None
        return Assessment(
            outcome="accepted", reason="replayed", depth=case.depth, measurements=(measured,), comparison=compared,
            hints=hints, insight=insight,
        )  # fmt: skip

    def value(self, folder: Path) -> float:
        """The throughput of a candidate without noise."""
        return true_value(folder)

    def hints(self, marks: list[str]) -> tuple[Hint, ...]:
        """What is told from outside of code with these techniques."""
        return hints_after(marks)

    def insight(self, marks: list[str]) -> Insight:
        """What is seen inside it."""
        return insight_after(marks)

    def _compared(self, case: Any, value: float) -> Comparison:
        noise = EFFECTS["noise"][case.depth]
        alpha = case.alpha or 0.025
        gain = value / self.value(case.baseline) * math.exp(self._draw.gauss(0, noise))
        width = noise * statistics.NormalDist().inv_cdf(1 - alpha)
        low, high = gain * math.exp(-width), gain * math.exp(width)
        told = "better" if low > 1 else "worse" if high < 1 else "no difference shown"
        headline = self._target.headline
        return Comparison(
            baseline="", baseline_tree="", metric=headline.metric, load=headline.load, gain=gain, low=low, high=high,
            pairs=4, conclusion=told, baseline_value=value / gain, candidate_value=value, unit=headline.unit,
            confidence=1 - 2 * alpha,
        )  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What one run came to; `reach` is the judged round after which a share of the best known gain was there."""

    gain: float
    judged: int
    gates: int
    calls: int
    gains: int
    wrong: int
    reach: int | None


def applied(folder: Path) -> list[str]:
    """The techniques whose names were written into a candidate."""
    path = folder / MARKS
    return json.loads(path.read_text()) if path.is_file() else []


def true_value(folder: Path) -> float:
    """The throughput without noise."""
    return STARTER_TOK_S * math.prod(FACTORS[name] for name in applied(folder))


def hints_after(marks: list[str]) -> tuple[Hint, ...]:
    """The hints that were measured once the last of its techniques was in the code."""
    skills = {"", *(name.partition(":")[0] for name in marks)}
    values = [row["values"] for row in EFFECTS["hints"] if row["after"] in skills][-1]
    return tuple(Hint(name=name, value=value, text=f"{name} {value}") for name, value in values.items())


def insight_after(marks: list[str]) -> Insight:
    """What a profiled pass saw inside code with the last of its techniques."""
    skills = {"", *(name.partition(":")[0] for name in marks)}
    gains = [row["gains"] for row in EFFECTS["insight"] if row["after"] in skills][-1]
    return Insight(load="c16", seconds=3.0, gains=tuple(gains.items()))


def best_known() -> float:
    """The product of every factor above 1 that can stand together."""
    return math.prod([1.24, 3.13, 5.25, 1.059, 1.064, 1.082, 1.04])


def replayed(
    policy: str, asked: bool, seed: int, rounds: int, folder: Path, *, seen: str = "outside", share: float = 0.9
) -> Result:
    """One run of the real loop with the replayed gate; `asked` makes every plan an agent's call."""
    target = load_target("tiny_llama")
    name = f"{policy}-{asked}-{seed}-{seen}"
    settings = Settings(
        id=name, created=1.7e9, target=str(target.folder), policy=policy, seed=seed, knobs=Knobs(), max_rounds=rounds
    )
    made, run = searched(settings, folder, ReplayGate(target, seed, seen), techniques_for(target), asked=asked)
    return result_of(made, lambda r: true_value(run.round(r.round) / "candidate") / STARTER_TOK_S, share)


def searched(
    settings: Settings, folder: Path, gate: ReplayGate, known: tuple[Technique, ...], *, asked: bool = False
) -> tuple[tuple[Round, ...], RunFolder]:
    """All rounds of one run of the real loop with a gate that replays; an agent that knows these techniques."""
    target = load_target("tiny_llama")
    charter = Charter(settings.knobs, target.objective, () if asked else known, ("replay",), asked, settings.seed)
    rule = Charter(settings.knobs, target.objective, known, ("replay",), False, settings.seed)
    run = create(settings, folder)
    agent = ReplayAgent(known, rule)
    shop = Workshop(
        settings, run, target, History(run.rounds, repair=True), Workspace(run.workspace), gate,  # type: ignore[arg-type]
        Crew((("replay", agent),), agent), resolve.sandbox("none"),
    )  # fmt: skip
    for _ in Search(shop, resolve.policy(settings.policy, charter)).events():
        pass
    return shop.history.rounds, run


def result_of(rounds: tuple[Round, ...], gain_of: Any, share: float = 0.9) -> Result:
    """The figures of one run, its reach that of a share of the best; a gain is wrong when not above its base's."""
    found = account(rounds)
    kept = [r for r in lineage.judged_work(rounds) if r.decision.ruling == "accept"]
    best = lineage.incumbent(rounds)
    truth = {r.round: gain_of(r) for r in rounds if r.task.kind in ("starter", "work") and r.assessment}
    judged = lineage.judged_work(rounds)
    near = [n for n, r in enumerate(judged, start=1) if r in kept and truth.get(r.round, 0) >= share * best_known()]
    return Result(
        gain=truth[best.round] if best else 1.0, judged=len(judged), gates=sum(bool(r.assessment) for r in rounds),
        calls=found.calls, gains=len(kept), wrong=sum(truth[r.round] <= truth[r.task.base] for r in kept),
        reach=near[0] if near else None,
    )  # fmt: skip


def real(policy: str, seed: int, hours: float, folder: Path) -> Result:
    """One run of the command on the embedded target; its own final gate says what it gained."""
    command = [sys.executable, "-m", "vibeserve_loop", "run", "tiny_llama", "--policy", policy, "--seed", str(seed)]
    place = folder / f"{policy}-{seed}"
    subprocess.run([*command, "--max-hours", str(hours), "--runs", str(place)], cwd=REPOSITORY, check=False)
    rounds = History(next(place.glob("*/rounds.jsonl")), repair=False).rounds
    return result_of(rounds, lambda r: lineage.gain_over_starter(rounds, r)[0])


def line(name: str, found: list[Result]) -> str:
    """One row of the table: medians, and totals where a median would say nothing."""
    gains = [r.gain for r in found]
    calls, kept = sum(r.calls for r in found), sum(r.gains for r in found)
    reached = [r.reach for r in found if r.reach is not None]
    reach = f"{statistics.median(reached):.0f} ({len(reached)}/{len(found)})" if reached else f"- (0/{len(found)})"
    original = f"{ORIGINAL_CALLS[0] * sum(r.judged for r in found) / max(kept, 1):.1f}"
    most = f"{ORIGINAL_CALLS[1] * sum(r.judged for r in found) / max(kept, 1):.1f}"
    each = f"{calls / len(found):.1f} | {calls / max(kept, 1):.2f}"
    return (
        f"| {name} | {len(found)} | x{statistics.median(gains):.1f} [{min(gains):.1f}, {max(gains):.1f}] "
        f"| {statistics.median(r.judged for r in found):.0f} | {reach} | {kept / len(found):.1f} "
        f"| {sum(r.wrong for r in found)} | {each} | {original} to {most} |"
    )


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--only", default="", help="one row: plain, agent, asked, evolve")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--hours", type=float, default=0.16)
    options = parser.parse_args()
    names = ("policy", "runs", "gain, median [least, most]", "judged rounds", "rounds to 9/10", "gains", "wrong")
    names += ("calls a run", "calls a gain", "the original's a gain, for as many rounds")
    print(f"| {' | '.join(names)} |\n{'|-' * len(names)}|")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for policy, asked in (("plain", False), ("agent", False), ("agent", True), ("evolve", False)):
            name = f"{policy}, planner asked" if asked else policy
            if (options.real and asked) or options.only not in ("", "asked" if asked else policy):
                continue
            seeds = range(options.seeds)
            one = [real(policy, s, options.hours, place) if options.real
                   else replayed(policy, asked, s, options.rounds, place) for s in seeds]  # fmt: skip
            print(line(name, one), flush=True)


if __name__ == "__main__":
    main()
