"""Drain a queue of issues, strongest first; each evaluation of code that was kept files some more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vibeserve_loop import decision
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.fold import Growing
from vibeserve_loop.ledger.hints import faded, issues_of, ranked
from vibeserve_loop.planning.bandit import choose
from vibeserve_loop.records import Assessment, Decision, Issue, Round, Task
from vibeserve_loop.roles import Charter

FADE = 0.6
ANYTHING = Issue(name="any part", weight=0.0)


@dataclass(slots=True)
class Queue:
    """The queue on one round's code: open issues, how often each was worked on, and those that are blocked."""

    best: Round | None = None
    open: tuple[Issue, ...] = ()
    attempts: dict[str, int] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    exhausted: bool = False


class PlainPolicy:
    """A queue that is folded from the rounds; over when it is empty and no evaluation refills it."""

    def __init__(self, charter: Charter | None = None) -> None:
        """Take the knobs."""
        self._charter = charter or Charter()
        self._queue = Growing(Queue, self._take_in)

    def propose(self, rounds: Sequence[Round]) -> Task | None:
        """Work on the strongest open issue; None when nothing is open, or the agent knew nothing more to try."""
        best = lineage.incumbent(rounds)
        if best is None:
            return None
        queue = self._queue((best, *lineage.on_base(rounds, best.round)))
        if queue.exhausted or not queue.open:
            return None
        issues = ranked([faded(issue, FADE ** queue.attempts.get(issue.name, 0)) for issue in queue.open])
        return Task(
            kind="work", base=best.round, issues=issues, hypothesis=f"relieving {issues[0].name} raises the headline",
            attempt=queue.attempts.get(issues[0].name, 0) + 1, agent=choose(rounds, self._charter.agents),
        )  # fmt: skip

    def decide(self, task: Task, assessment: Assessment) -> Decision:
        """Keep what is better than the incumbent beyond the noise."""
        return decision.by_interval(assessment)

    def _take_in(self, queue: Queue, record: Round) -> None:
        """The incumbent comes first and its evaluation files; failed rounds count, an empty queue is refilled."""
        queue.exhausted |= record.work is not None and record.work.exhausted and queue.best is not None
        if queue.best is None:
            queue.best = record
        elif not (queue.exhausted or _nobodys(record)):
            self._worked(queue, record.task.issues[0].name)
        if not queue.open:
            queue.open = self._filed(queue.best, queue.blocked)

    def _worked(self, queue: Queue, name: str) -> None:
        queue.attempts[name] = queue.attempts.get(name, 0) + 1
        if queue.attempts[name] >= self._charter.knobs.max_attempts_per_issue:
            queue.open = tuple(issue for issue in queue.open if issue.name != name)
            queue.blocked.add(name)

    def _filed(self, best: Round, blocked: set[str]) -> tuple[Issue, ...]:
        filed = [issue for issue in issues_of(best) if issue.name not in blocked and issue.weight > 0]
        if not filed and not blocked:
            return (ANYTHING,)
        return tuple(filed[: self._charter.knobs.max_issues_per_eval])


def _nobodys(record: Round) -> bool:
    """Whether a round says nothing of its issue: the gate could not judge it, or the session failed."""
    failed = record.work is not None and bool(record.work.failed)
    return record.decision.ruling == "void" and (failed or record.assessment is not None)
