"""Keep a backlog and test one falsifiable hypothesis a round; a rule or an agent plans it."""

from __future__ import annotations

from collections.abc import Sequence

from vibeserve_loop import decision
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.hints import issues_of
from vibeserve_loop.planning.bandit import choose
from vibeserve_loop.planning.planner import chances, propose_by_rule
from vibeserve_loop.proposals import Proposal
from vibeserve_loop.records import Assessment, Decision, Round, Task
from vibeserve_loop.roles import Charter

PLAN_TRIES = 3
PLANNING = "which hypothesis is worth the next round"


class AgentPolicy:
    """Plan, work, and mend what the gate refused; the backlog is folded from the rounds."""

    def __init__(self, charter: Charter | None = None) -> None:
        """Take the knobs, the techniques that the rule may name, and whether an agent plans instead."""
        self._charter = charter or Charter()

    def propose(self, rounds: Sequence[Round]) -> Task | None:
        """Another attempt at a hypothesis that is not refuted, else a new one; None when nothing is worth a round."""
        best = lineage.incumbent(rounds)
        if best is None or lineage.fruitless(rounds) >= self._charter.knobs.patience:
            return None
        last = next((r for r in reversed(rounds) if r.task.kind in ("work", "plan")), None)
        if last and last.task.kind == "work" and (again := self._mended(last, rounds)):
            return again
        if self._charter.planned:
            return self._asked(last, best, rounds)
        if any(r.work and r.work.exhausted for r in lineage.on_base(rounds, best.round)):
            return None
        return propose_by_rule(rounds, best, self._charter)

    def decide(self, task: Task, assessment: Assessment) -> Decision:
        """Keep what is better than the code it started from, beyond the noise."""
        return decision.by_interval(assessment)

    def _mended(self, last: Round, rounds: Sequence[Round]) -> Task | None:
        """The next attempt when the work broke and the hypothesis was not put to the test, by those who can mend."""
        broke = bool(last.assessment and last.assessment.failed) and last.decision.ruling == "reject"
        empty = last.decision.ruling == "void"
        spent = last.task.attempt >= self._charter.knobs.max_retries_per_round
        over = last.work is not None and last.work.exhausted
        if not (self._charter.planned or self._charter.mends) or spent or over or not (broke or empty):
            return None
        start = last.round if broke and last.commit else last.task.start
        agent = choose(rounds, self._charter.agents)
        return last.task.model_copy(update={"attempt": last.task.attempt + 1, "start": start, "agent": agent})

    def _asked(self, last: Round | None, best: Round, rounds: Sequence[Round]) -> Task | None:
        """Work on what the planner answered; a plan's round when it has not been asked since the last work."""
        if last is None or last.task.kind == "work":
            follow = _next_of(rounds)
            return self._task(follow, best, rounds) if follow else _plan_of(best)
        if last.decision.ruling == "pending":
            return None
        if last.answer is None:
            return _plan_of(best) if chances(rounds, PLAN_TRIES) else None
        if last.answer.proposal is None:
            return None
        return self._task(last.answer.proposal, best, rounds)

    def _task(self, proposal: Proposal, best: Round, rounds: Sequence[Round]) -> Task:
        base = best.round if proposal.base is None else proposal.base
        agent = choose(rounds, self._charter.agents)
        return Task(
            kind="work", base=base, hypothesis=proposal.hypothesis, proposal=proposal, agent=agent,
            issues=issues_of(rounds[base]),
        )  # fmt: skip


def _plan_of(best: Round) -> Task:
    return Task(kind="plan", base=best.round, hypothesis=PLANNING)


def _next_of(rounds: Sequence[Round]) -> Proposal | None:
    """What the planner named to be tested next, unless a gain changed the profile, or all of it was tested."""
    tested = 0
    for record in reversed(rounds):
        if record.task.kind == "work":
            if record.decision.ruling == "accept":
                return None
            tested += record.task.attempt == 1
        elif record.task.kind == "plan":
            follows = record.answer.then if record.answer else ()
            return follows[tested - 1] if 0 < tested <= len(follows) else None
    return None
