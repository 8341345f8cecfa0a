"""In how many rounds the recipes agent finds its winner: told nothing, told hints from outside, and told an insight.

    python tests/benchmarks/hints.py [--seeds 40] [--rounds 24] [--policy plain] [--share 0.75]

The winner is code with that share of the best gain known: all three techniques that each multiply the throughput,
whatever of the small ones (4 to 8 per cent) the noise of a quick gate lets through.

The loop is the real one, with its own agent's order of plans; the gate replays effects.toml, whose hints and insights
real gates measured on the code of each stage.  Nothing is served.

    python tests/benchmarks/hints.py --planted

asks the same of faults that clients can hardly tell apart: the cases of effects.toml, which planted.py measured.  The
winner is then the code of which the fault is gone; nothing else gains anything.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from policies import (
    EFFECTS,
    FACTORS,
    NOT_AFTER,
    STARTER_TOK_S,
    ReplayGate,
    Result,
    applied,
    best_known,
    replayed,
    searched,
)

from pytest_vibeserve.insight import Insight
from pytest_vibeserve.report import Hint
from pytest_vibeserve.target import Target, load_target
from vibeserve_loop.ledger import lineage
from vibeserve_loop.records import Knobs, Settings
from vibeserve_loop.skills import techniques_for

Case = dict[str, Any]
CASES: dict[str, Case] = {case["planted"]: case for case in EFFECTS.get("case", ())}
BASE = ("static-kv-decode", "continuous-batching", "compiled-step")

SEEN = {"nothing": "no hints", "outside": "hints from outside", "inside": "hints and insight"}


def line(name: str, found: list[Result], rounds: int) -> str:
    """One row; a run that did not get there counts as one round more than it was allowed."""
    reach = [rounds + 1 if r.reach is None else r.reach for r in found]
    there = sum(r.reach is not None for r in found)
    quartiles = statistics.quantiles(reach, n=4)
    gain, judged = statistics.median(r.gain for r in found), statistics.fmean(r.judged for r in found)
    return (
        f"| {name} | {len(found)} | {statistics.fmean(reach):.1f} | {quartiles[1]:.0f} [{quartiles[0]:.0f}, "
        f"{quartiles[2]:.0f}] | {there} | x{gain:.1f} | {judged:.1f} |"
    )


class PlantedGate(ReplayGate):
    """A candidate with one fault, and what was measured of it; once the fault is gone, of the same without."""

    def __init__(self, target: Target, seed: int, seen: str, case: Case) -> None:
        super().__init__(target, seed, seen)
        self._case = case

    def is_gone(self, marks: list[str]) -> bool:
        """Whether a technique that relieves the fault was applied."""
        return not set(self._case["relieved_by"]).isdisjoint(marks)

    def value(self, folder: Path) -> float:
        return STARTER_TOK_S * (self._case["factor"] if self.is_gone(applied(folder)) else 1.0)

    def hints(self, marks: list[str]) -> tuple[Hint, ...]:
        values = (CASES["nothing"] if self.is_gone(marks) else self._case)["hints"]
        return tuple(Hint(name=name, value=value, text=f"{name} {value}") for name, value in values.items())

    def insight(self, marks: list[str]) -> Insight:
        gains = (CASES["nothing"] if self.is_gone(marks) else self._case)["gains"]
        return Insight(load="c16", seconds=2.5, gains=tuple(gains.items()))


def rounds_to_relief(case: Case, seen: str, policy: str, seed: int, scratch: Path) -> int | None:
    """Judged rounds until the fault is gone; None when the search ended before."""
    target = load_target("tiny_llama")
    have = {name.partition(":")[0] for name in BASE} - {name.partition(":")[0] for name in case["relieved_by"]}
    known = tuple(
        replace(one, requires=tuple(skill for skill in one.requires if skill not in have))
        for one in techniques_for(target)
        if one.name in FACTORS and one.skill not in have and NOT_AFTER.get(one.skill) not in have
    )  # fmt: skip
    name = f"{case['planted'].replace(' ', '-')}-{seen}-{policy}-{seed}"
    settings = Settings(
        id=name, created=1.7e9, target=str(target.folder), policy=policy, seed=seed, knobs=Knobs(), max_rounds=16
    )
    gate = PlantedGate(target, seed, seen, case)
    made, run = searched(settings, scratch, gate, known)
    for number, one in enumerate(lineage.judged_work(made), start=1):
        if one.decision.ruling == "accept" and gate.is_gone(applied(run.round(one.round) / "candidate")):
            return number
    return None


def planted(policy: str, seeds: int) -> None:
    """A table of rounds by fault and by what was told."""
    if not CASES:
        raise SystemExit("effects.toml holds no case yet: append what `planted.py --toml FILE` writes")
    print(f"| planted | costs | {' | '.join(SEEN.values())} |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES.values():
            if not case["relieved_by"]:
                continue
            cells = []
            for seen in SEEN:
                found = [rounds_to_relief(case, seen, policy, seed, Path(scratch)) for seed in range(seeds)]
                there = [number for number in found if number is not None]
                mean = f"{statistics.fmean(there):.1f}" if there else "-"
                cells.append(mean if len(there) == seeds else f"{mean} ({len(there)} of {seeds})")
            print(f"| {case['planted']} | x{case['factor']:.2f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Run every arm over the same seeds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--share", type=float, default=0.75)
    parser.add_argument("--only", choices=list(SEEN), action="append", help="one row")
    parser.add_argument("--policy", default="plain", choices=["plain", "agent", "evolve"])
    parser.add_argument("--planted", action="store_true", help="faults that look alike from outside")
    options = parser.parse_args()
    if options.planted:
        planted(options.policy, options.seeds)
        return
    heads = (
        options.policy, "runs", f"judged rounds to x{options.share * best_known():.1f}, mean", "median [quartiles]",
        "runs that got there", "gain, median", "judged rounds",
    )  # fmt: skip
    print(f"| {' | '.join(heads)} |\n{'|-' * len(heads)}|")
    with tempfile.TemporaryDirectory() as scratch:
        for seen in options.only or SEEN:
            found = [
                replayed(options.policy, False, seed, options.rounds, Path(scratch), seen=seen, share=options.share)
                for seed in range(options.seeds)
            ]
            print(line(SEEN[seen], found, options.rounds), flush=True)


if __name__ == "__main__":
    main()
