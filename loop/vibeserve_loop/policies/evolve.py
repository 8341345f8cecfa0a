"""Keep a population of correct code; draw a parent, show the agent some others, and let the gate select."""

from __future__ import annotations

import random
from collections.abc import Sequence

from vibeserve_loop import decision
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.hints import faded, issues_of, ranked
from vibeserve_loop.planning.bandit import choose
from vibeserve_loop.planning.population import Member, inspirations, of_island, parent, population_of
from vibeserve_loop.records import Assessment, Decision, Issue, Round, Task
from vibeserve_loop.roles import Charter

SPREAD = (0.5, 1.0)
"""The issues' weights are multiplied by a number drawn from this range, so that one parent has different children."""


class EvolvePolicy:
    """Draws from the run's seed and the number of rounds alone; the population is folded from the rounds."""

    def __init__(self, charter: Charter | None = None) -> None:
        """Take the knobs and the objectives."""
        self._charter = charter or Charter()
        self._population = population_of(self._charter.objectives)

    def propose(self, rounds: Sequence[Round]) -> Task | None:
        """A child of a drawn parent; None after `patience` rounds without a gain, or when every parent is exhausted."""
        knobs = self._charter.knobs
        work = [r for r in rounds if r.task.kind == "work"]
        spent = {r.task.base for r in work if r.work and r.work.exhausted}
        every = self._population(rounds).members
        if not every or lineage.fruitless(rounds) >= knobs.patience:
            return None
        turn = lineage.turns(rounds)
        draw = random.Random(f"{self._charter.seed}/{turn}")
        for step in range(knobs.islands):
            island = (turn + step) % knobs.islands
            group = of_island(every, island, len(rounds), knobs)
            fertile = [m for m in group if m.round not in spent]
            if fertile:
                chosen = parent(fertile, knobs, len(self._charter.objectives) > 1, draw)
                return self._child(rounds, chosen, inspirations(group, chosen, knobs, draw), island, draw)
        return None

    def decide(self, task: Task, assessment: Assessment) -> Decision:
        """Keep what is better than its parent beyond the noise; correct code lives on in the population either way."""
        return decision.by_interval(assessment)

    def _child(
        self, rounds: Sequence[Round], chosen: Member, others: tuple[int, ...], island: int, draw: random.Random
    ) -> Task:
        issues = ranked([_spread(issue, draw) for issue in issues_of(rounds[chosen.round])])
        subject = issues[0].name if issues else "any part"
        return Task(
            kind="work", base=chosen.round, issues=issues, inspirations=others, island=island,
            agent=choose(rounds, self._charter.agents),
            hypothesis=f"a child of round {chosen.round} that relieves {subject} is better than its parent",
        )  # fmt: skip


def _spread(issue: Issue, draw: random.Random) -> Issue:
    return faded(issue, draw.uniform(*SPREAD))
