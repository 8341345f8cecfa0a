"""How often the sequential comparison errs, on a simulated machine: `python tests/benchmarks/decisions.py`.

Each block's logarithm is the sum of its arm's level, independent noise of 1 to 5 %, a machine that wanders
(autocorrelated, shared by both arms), a steady drift, and now and then another program that takes its part.  What
decides is the gate's own code with its own limits on pairs and its own rule for what is dropped; only the clock is out.
Machines that are worse than that stand in `odd_machines.py`.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "loop")]

from odd_machines import MACHINES, Disturbance  # noqa: E402

from pytest_vibeserve.comparison import PAIRS_A_QUAD  # noqa: E402
from pytest_vibeserve.machine_state import LARGEST_FOREIGN  # noqa: E402
from pytest_vibeserve.statistics import ALPHA, orders, quad  # noqa: E402
from pytest_vibeserve.stopping import EFFORTS, Effort, Tally, ending  # noqa: E402
from vibeserve_loop.decision import SEARCH_ALPHA, alpha_for  # noqa: E402
from vibeserve_loop.records import Task  # noqa: E402

ROUNDS = 40
NOISES = (0.01, 0.02, 0.03, 0.04, 0.05)
STARTS = (0.0, 0.005, 0.01)
OUTLIERS = 0.03
"""Chance that a block shares the machine with another program, which costs it 5 to 40 %."""
EARLY_PAIRS = 6
LARGEST_LOG = 50.0
"""Of what a block of Cauchy's may serve."""
STARVED = (0.1, 0.3, 0.5, 0.7, 0.9)


class Disturbing(Protocol):
    """What disturbs one block after another, and the share of the machine that others took in it."""

    start: float

    def blocks(self, draws: random.Random) -> Iterator[tuple[float, float]]:
        """Without end."""


@dataclass(frozen=True)
class Odd:
    """A machine of `odd_machines.py`."""

    disturbance: Disturbance
    start: float = 0.0

    def blocks(self, draws: random.Random) -> Iterator[tuple[float, float]]:
        """Nothing of it is seen from outside."""
        return ((log, 0.0) for log in self.disturbance(draws))


@dataclass(frozen=True)
class Machine:
    """Levels of everything that disturbs, in logarithms; `start` is what differs between two starts of a server."""

    noise: float
    wander: float = 0.03
    memory: float = 0.9
    drift: float = 0.002
    start: float = 0.0

    def blocks(self, draws: random.Random) -> Iterator[tuple[float, float]]:
        """The disturbance of one block after another, and the share of the machine that others took in it."""
        level = draws.gauss(0, self.wander)
        slope = draws.uniform(-self.drift, self.drift)
        for number in range(10**9):
            level = self.memory * level + draws.gauss(0, self.wander * math.sqrt(1 - self.memory**2))
            taken = draws.uniform(0.05, 0.4) if draws.random() < OUTLIERS else 0.0
            yield level + slope * number + math.log1p(-taken) + draws.gauss(0, self.noise), taken


@dataclass(frozen=True)
class Trial:
    """How one comparison ended, after so many pairs of blocks, not counting the dropped ones."""

    conclusion: str
    ended: str
    pairs: int


@dataclass(frozen=True)
class Starved:
    """A machine of `odd_machines.py` on which a block that is slower than `edge` serves nothing at all."""

    disturbance: Disturbance
    edge: float
    start: float = 0.0

    def blocks(self, draws: random.Random) -> Iterator[tuple[float, float]]:
        """A block that served nothing has the logarithm of zero."""
        return ((min(log, LARGEST_LOG) if log > self.edge else -math.inf, 0.0) for log in self.disturbance(draws))


def quantile(disturbance: Disturbance, share: float) -> float:
    """What a share of the first forty blocks stays below."""
    logs = sorted(log for seed in range(ROUNDS) for log in islice(disturbance(random.Random(seed)), ROUNDS))
    return logs[int(share * len(logs))]


def trial(gain: float, machine: Disturbing, alpha: float, effort: Effort, draws: random.Random) -> Trial:
    """One comparison of a candidate that is `gain` times as fast as its baseline."""
    tally, disturbance, order = Tally(alpha, effort), machine.blocks(draws), orders(draws)
    ours = gain * math.exp(draws.gauss(0, machine.start) - draws.gauss(0, machine.start))
    for begun in range(1, effort.most + 1):
        arms: dict[str, list[float]] = {"A": [], "B": []}
        foreign = []
        for arm in next(order):
            log, taken = next(disturbance)
            foreign.append(taken)
            arms[arm].append(math.exp(log) * (ours if arm == "A" else 1.0))
        found = quad((arms["A"][0], arms["A"][1]), (arms["B"][0], arms["B"][1]))
        tally.add(found, max(foreign) - min(foreign) <= LARGEST_FOREIGN)
        ended = ending(tally.gains, begun, 0.0, effort)
        if ended:
            return Trial(tally.gains.conclusion(), ended, PAIRS_A_QUAD * len(tally.gains))
    raise AssertionError("a comparison ends at its last pair")


def naive(machine: Machine, draws: random.Random) -> bool:
    """What is common: the mean of three blocks of the candidate beats the stored best."""
    disturbance = machine.blocks(draws)
    best = sum(next(disturbance)[0] for _ in range(3))
    return sum(next(disturbance)[0] for _ in range(3)) > best


def mixed(draws: random.Random, start: float = 0.0) -> Machine:
    """A machine of any of the noises."""
    return Machine(draws.uniform(NOISES[0], NOISES[-1]), start=start)


def false_acceptances(runs: int, judge: Callable[[random.Random], bool], draws: random.Random) -> tuple[float, float]:
    """Mean of false acceptances in a run of forty null rounds, and its upper 95 % limit (Poisson)."""
    count = sum(judge(draws) for _ in range(runs * ROUNDS))
    upper = count + 3.0 if count < 9 else count + 1.645 * math.sqrt(count)
    return count / runs, upper / runs


def shares(gain: float, alpha: float, effort: Effort, trials: int, draws: random.Random) -> Iterator[str]:
    """A table's rows for one true gain: what is said, how soon, by noise."""
    for noise in NOISES:
        found = [trial(gain, Machine(noise), alpha, effort, draws) for _ in range(trials)]
        better = sum(one.conclusion == "better" for one in found) / trials
        worse = sum(one.conclusion == "worse" for one in found) / trials
        early = sum(one.conclusion == "better" and one.pairs <= EARLY_PAIRS for one in found) / trials
        pairs = sorted(one.pairs for one in found)[trials // 2]
        yield f"| {noise:.0%} | {better:.1%} | {1 - better - worse:.1%} | {worse:.2%} | {early:.1%} | {pairs} |"


def odd_rounds(rounds: int, share: float, draws: random.Random) -> None:
    """A table of false acceptances on each odd machine: in forty rounds of a run, and of comparisons by themselves."""
    print(
        "\n| null rounds on a machine with | false acceptances in forty | of rounds that stand alone |\n|---|---|---|"
    )
    for name, disturbance in MACHINES.items():
        row = [
            sum(trial(1.0, Odd(disturbance), al, EFFORTS["quick"], draws).conclusion == "better" for _ in range(rounds))
            for al in (share, ALPHA)
        ]
        print(f"| {name} | {ROUNDS * row[0] / rounds:.3f} | {row[1] / rounds:.2%} |", flush=True)


def starved_rounds(rounds: int, share: float, draws: random.Random) -> None:
    """The largest shares of false acceptances on the odd machines where blocks serve nothing, by how many do."""
    print(
        "\n| blocks that serve nothing | false acceptances in forty | of rounds that stand alone | on |"
        "\n|---|---|---|---|"
    )
    for part in STARVED:
        worst = (0.0, 0.0, "")
        for name, disturbance in MACHINES.items():
            machine = Starved(disturbance, quantile(disturbance, part))
            alone, within = (
                sum(trial(1.0, machine, al, EFFORTS["quick"], draws).conclusion == "better" for _ in range(rounds))
                for al in (ALPHA, share)
            )
            worst = max(worst, (alone / rounds, within / rounds, name))
        print(f"| {part:.0%} | {ROUNDS * worst[1]:.3f} | {worst[0]:.2%} | {worst[2]} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=500, help="runs of forty null rounds")
    parser.add_argument("--trials", type=int, default=500, help="comparisons for each line of a table")
    parser.add_argument("--odd", type=int, default=4000, help="null rounds on each odd machine")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    draws = random.Random(asked.seed)
    share = alpha_for(Task(kind="work"), (), ROUNDS)
    assert share is not None
    quick = EFFORTS["quick"]

    print(
        f"{asked.runs} runs of {ROUNDS} null rounds, noise 1 to 5 %; a run shares {SEARCH_ALPHA}: {share:.5f} a round"
    )
    for start in STARTS:

        def sequential(draws: random.Random, start: float = start) -> bool:
            return trial(1.0, mixed(draws, start), share, quick, draws).conclusion == "better"

        found, upper = false_acceptances(asked.runs, sequential, draws)
        told = f", starts of one server differing by {start:.1%}" if start else ""
        print(f"false acceptances per {ROUNDS} null rounds{told}: {found:.4f} (95 % sure: below {upper:.4f})")
    odd_rounds(asked.odd, share, draws)
    starved_rounds(asked.odd, share, draws)
    found, _ = false_acceptances(max(1, asked.runs // 10), lambda draws: naive(mixed(draws), draws), draws)
    print(f"for comparison, `the mean of three beats the stored best`: {found:.1f}")
    for title, alpha, effort in (
        (f"a round of forty, quick (at most {PAIRS_A_QUAD * quick.most} pairs)", share, quick),
        (f"alone, quick (at most {PAIRS_A_QUAD * quick.most} pairs)", ALPHA, quick),
        (f"alone, full (at most {PAIRS_A_QUAD * EFFORTS['full'].most} pairs)", ALPHA, EFFORTS["full"]),
    ):
        for gain in (1.0, 1.05, 1.2):
            print(f"\ntrue gain {gain:.2f}, {title}")
            print(f"| noise | better | no difference | worse | better within {EARLY_PAIRS} pairs | median pairs |")
            print("|---|---|---|---|---|---|")
            for row in shares(gain, alpha, effort, asked.trials, draws):
                print(row)


if __name__ == "__main__":
    main()
