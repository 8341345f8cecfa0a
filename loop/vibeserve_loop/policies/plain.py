"""Drain a queue of issues, strongest first; each evaluation of code that was kept files some more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vibeserve_loop import decision
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.hints import faded, issues_of, ranked
from vibeserve_loop.planning.bandit import choose
from vibeserve_loop.records import Assessment, Decision, Issue, Round, Task
from vibeserve_loop.roles import Charter

FADE = 0.6
ANYTHING = Issue(name="any part", weight=0.0)


@dataclass(frozen=True, slots=True)
class Queue:
    """Open issues, how often each was worked on since it was filed, and those that are blocked on this code."""

    open: tuple[Issue, ...] = ()
    attempts: dict[str, int] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()


class PlainPolicy:
    """A queue that is folded afresh from the rounds; over when it is empty and no evaluation refills it."""

    def __init__(self, charter: Charter | None = None) -> None:
        """Take the knobs."""
        self._charter = charter or Charter()

    def propose(self, rounds: Sequence[Round]) -> Task | None:
        """Work on the strongest open issue; None when nothing is open, or the agent knew nothing more to try."""
        best = lineage.incumbent(rounds)
        if best is None:
            return None
        here = lineage.on_base(rounds, best.round)
        if any(r.work and r.work.exhausted for r in here):
            return None
        queue = self._queue(here, best)
        if not queue.open:
            return None
        issues = ranked([faded(issue, FADE ** queue.attempts.get(issue.name, 0)) for issue in queue.open])
        return Task(
            kind="work", base=best.round, issues=issues, hypothesis=f"relieving {issues[0].name} raises the headline",
            attempt=queue.attempts.get(issues[0].name, 0) + 1, agent=choose(rounds, self._charter.agents),
        )  # fmt: skip

    def decide(self, task: Task, assessment: Assessment) -> Decision:
        """Keep what is better than the incumbent beyond the noise."""
        return decision.by_interval(assessment)

    def _queue(self, here: Sequence[Round], best: Round) -> Queue:
        """The queue on the incumbent's code: its evaluation files, failed rounds count, an empty queue is refilled."""
        queue = self._refilled(Queue(), best)
        for record in here:
            if not _nobodys(record):
                queue = self._refilled(self._worked(queue, record.task.issues[0].name), best)
        return queue

    def _worked(self, queue: Queue, name: str) -> Queue:
        attempts = {**queue.attempts, name: queue.attempts.get(name, 0) + 1}
        if attempts[name] < self._charter.knobs.max_attempts_per_issue:
            return replace(queue, attempts=attempts)
        left = tuple(issue for issue in queue.open if issue.name != name)
        return Queue(left, attempts, queue.blocked | {name})

    def _refilled(self, queue: Queue, best: Round) -> Queue:
        if queue.open:
            return queue
        filed = [issue for issue in issues_of(best) if issue.name not in queue.blocked and issue.weight > 0]
        if not filed and not queue.blocked:
            filed = [ANYTHING]
        return replace(queue, open=tuple(filed[: self._charter.knobs.max_issues_per_eval]))


def _nobodys(record: Round) -> bool:
    """Whether a round says nothing of its issue: the gate could not judge it, or the session failed."""
    failed = record.work is not None and bool(record.work.failed)
    return record.decision.ruling == "void" and (failed or record.assessment is not None)
