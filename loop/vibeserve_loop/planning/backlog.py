"""The backlog of a run: issues with states and evidence, derived from the rounds and from what was asked since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage
from vibeserve_loop.proposals import Answer, Expectation, Item, Proposal
from vibeserve_loop.records import Order, Round

KEPT = 8
"""Lines of evidence that are kept of an issue, the latest."""


def board(rounds: Sequence[Round], pending: Iterable[Order] = ()) -> tuple[Item, ...]:
    """Every issue in the order in which it was filed; `pending` are orders that no round has taken in yet."""
    items: dict[str, Item] = {}
    for record in rounds:
        proposal = record.answer.proposal if record.answer else record.task.proposal
        if record.task.kind == "work" and record.task.attempt > 1:
            proposal = None
        if proposal:
            for item in proposal.board:
                _put(items, item)
        for order in record.task.orders:
            _put(items, order.item)
        if record.task.kind == "work" and record.task.proposal:
            _learn(items, record, record.task.proposal.issue)
    for order in pending:
        _put(items, order.item)
    return tuple(items.values())


def evidence(record: Round) -> str:
    """What one round of work says about its hypothesis, in a line."""
    found = record.assessment.comparison if record.assessment else None
    measured = f" {gain_text(found.gain, found.low, found.high)}" if found else ""
    name = ", ".join(record.work.techniques) if record.work and record.work.techniques else "work"
    expects = record.task.proposal.expects if record.task.proposal else None
    held = f", hypothesis {bearing(record, expects)}" if expects else ""
    reason = "" if measured else f" ({record.decision.reason})"
    return f"round {record.round}: {name}: {record.decision.ruling}{measured}{held}{reason}"


def bearing(record: Round, expects: Expectation) -> str:
    """What the headline's interval says of an expectation: `confirmed`, `refuted`, or `open`."""
    found = record.assessment.comparison if record.assessment else None
    if found is None or found.metric != expects.metric or (expects.load and found.load != expects.load):
        return "open"
    if found.low >= expects.at_least:
        return "confirmed"
    return "refuted" if found.high < expects.at_least else "open"


def misfit(answer: Answer, rounds: Sequence[Round], metrics: Iterable[str]) -> str:
    """Why an answer cannot be followed, or "": it names an issue, a round or a metric that is not there."""
    filed = [item for proposal in (answer.proposal, *answer.then) if proposal for item in proposal.board]
    known = {item.id: item for item in (*board(rounds), *filed)}
    faults = (_fault(proposal, known, rounds, set(metrics)) for proposal in (answer.proposal, *answer.then) if proposal)
    return next((fault for fault in faults if fault), "")


def _fault(proposal: Proposal, known: dict[str, Item], rounds: Sequence[Round], metrics: set[str]) -> str:
    if proposal.issue not in known:
        return f"the backlog has no issue {proposal.issue!r}; it has: {', '.join(known) or 'none'}"
    if known[proposal.issue].state in ("done", "abandoned"):
        return f"issue {proposal.issue} is {known[proposal.issue].state}: reopen it on the board first"
    correct = [n for n in lineage.log_gains(rounds) if rounds[n].decision.ruling == "accept"]
    if proposal.base is not None and proposal.base not in correct:
        return f"round {proposal.base} was not accepted; go back to one of: {', '.join(map(str, correct))}"
    if proposal.expects.metric not in metrics:
        return f"nothing measures {proposal.expects.metric!r}; measured are: {', '.join(sorted(metrics))}"
    return ""


def _put(items: dict[str, Item], item: Item | None) -> None:
    if item is not None:
        before = items.get(item.id)
        items[item.id] = item.model_copy(update={"evidence": before.evidence if before else ()})


def _learn(items: dict[str, Item], record: Round, issue: str) -> None:
    item = items.get(issue)
    if item is None:
        return
    state = "done" if record.decision.ruling == "accept" else item.state
    items[issue] = item.model_copy(update={"state": state, "evidence": (*item.evidence, evidence(record))[-KEPT:]})
