"""The rule that plans without a model: the technique that promises most, as a hypothesis with a figure to miss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.hints import faded, issues_of, ranked
from vibeserve_loop.planning.backlog import board
from vibeserve_loop.planning.bandit import choose
from vibeserve_loop.planning.plans import Plan, plans
from vibeserve_loop.proposals import Expectation, Item, Proposal, State
from vibeserve_loop.records import Issue, Round, Task
from vibeserve_loop.roles import Charter

FADE = 0.6
LEAST_GAIN = 1.02
"""What a hypothesis claims at the least; below it no interval of a quick gate would show it."""
WORTHLESS = 0.02
"""A plan that promises less than this is not worth a gate once nothing better is left."""
FEWEST_TOGETHER, MOST_TOGETHER = 2, 4
WORTH_TOGETHER = 1.05
"""The gain that techniques must be hoped to give together; below it no interval of a quick gate would show it."""
SHRUNK = 0.5
"""Of several noisy gains the large ones are the lucky ones: half of each, as a logarithm, is hoped for."""
FALLBACK = "any-part"


def propose_by_rule(rounds: Sequence[Round], best: Round, charter: Charter) -> Task | None:
    """The most promising plan on the incumbent, or on its parent when nothing is left there; None when neither is."""
    known = {item.id: item for item in board(rounds)}
    for base in (best, *_parents(rounds, best)):
        issues = _weighed(rounds, base, charter)
        task = Task(kind="work", base=base.round, issues=issues, agent=choose(rounds, charter.agents))
        if not charter.techniques:
            return _whole(task, best, rounds, known)
        if together := _together(rounds, task, charter):
            return _hypothesis(task, together, best, known)
        found = plans(charter.techniques, task, rounds, charter.seed)
        if found and (base is best or found[0].score > WORTHLESS):
            return _hypothesis(task, found[0], best, known)
    return None


def chances(rounds: Sequence[Round], tries: int) -> bool:
    """Whether a planner that answered badly may be asked again: not after so many bad answers in a row."""
    bad = 0
    for record in reversed(rounds):
        if record.task.kind == "plan":
            if record.answer:
                break
            bad += 1
        elif record.task.kind == "work" or any(order.verb == "resume" for order in record.task.orders):
            break
    return bad < tries


def _parents(rounds: Sequence[Round], best: Round) -> tuple[Round, ...]:
    line = lineage.chain(rounds, best)
    return line[-2:-1] if best.task.kind == "work" else ()


def _weighed(rounds: Sequence[Round], base: Round, charter: Charter) -> tuple[Issue, ...]:
    """The base's issues, each fading with every round on this base that relieved it in vain."""
    relieves = {technique.name: technique.relieves for technique in charter.techniques}
    tried: list[str] = []
    for record in lineage.on_base(rounds, base.round):
        if record.decision.ruling == "reject":
            named = {
                hint for name in (record.work.techniques if record.work else ()) for hint in relieves.get(name, ())
            }
            tried += sorted(named) or [issue.name for issue in record.task.issues[:1]]
    return ranked([faded(issue, FADE ** tried.count(issue.name)) for issue in issues_of(base)])


def _together(rounds: Sequence[Round], task: Task, charter: Charter) -> Plan | None:
    """What made no difference that showed by itself, but leaned the right way: several of it at once may show one."""
    leaning: dict[str, tuple[float, str]] = {}
    for record in lineage.on_base(rounds, task.base):
        found = record.assessment.comparison if record.assessment else None
        names = record.work.techniques if record.work else ()
        if found and found.conclusion == "no difference shown" and len(names) == 1 and found.gain > 1:
            skill = names[0].partition(":")[0]
            leaning[skill] = max(leaning.get(skill, (0.0, "")), (found.gain, names[0]))
    chosen = sorted(leaning.values(), reverse=True)[:MOST_TOGETHER]
    hoped = math.prod(gain for gain, _ in chosen) ** SHRUNK
    if len(chosen) < FEWEST_TOGETHER or hoped < WORTH_TOGETHER:
        return None
    wanted = task.model_copy(update={"techniques": tuple(sorted(name for _, name in chosen))})
    best = plans(charter.techniques, wanted, rounds, charter.seed)[:1]
    return best[0] if best and best[0].names == wanted.techniques else None


def _hypothesis(task: Task, plan: Plan, best: Round, known: dict[str, Item]) -> Task:
    weights = {issue.name: issue for issue in task.issues}
    named = [weights[hint] for technique in plan.techniques for hint in technique.relieves if hint in weights]
    subject = max(named, key=lambda issue: issue.weight, default=Issue(name=FALLBACK, weight=0.0))
    return _proposed(task, subject, plan.names, best, known)


def _whole(task: Task, best: Round, rounds: Sequence[Round], known: dict[str, Item]) -> Task | None:
    """Without techniques to name: the strongest issue that has not been abandoned on this code."""
    spent = [r.task.proposal.issue for r in lineage.on_base(rounds, best.round) if r.task.proposal]
    left = [issue for issue in task.issues if spent.count(issue.name) < 2] or [Issue(name=FALLBACK, weight=0.0)]
    if spent.count(left[0].name) >= 2:
        return None
    return _proposed(task, left[0], (), best, known)


def _proposed(task: Task, subject: Issue, names: tuple[str, ...], best: Round, known: dict[str, Item]) -> Task:
    headline = best.assessment.headline if best.assessment else None
    metric, load = (headline.metric, headline.load) if headline else ("", "")
    at_least = max(LEAST_GAIN, 1 + 0.1 * subject.weight)
    means = " + ".join(names) or "a change of the agent's choice"
    told = f"{means} relieves {subject.name}: {metric or 'the headline'} improves to x{at_least:.2f} or more"
    proposal = Proposal(
        issue=subject.name, hypothesis=told, expects=Expectation(metric=metric, load=load, at_least=at_least),
        task=f"apply {means}", criteria=("the gate accepts every answer", "the interval's lower end is above 1"),
        base=None if task.base == best.round else task.base, board=_changes(subject, task, best, known),
        reasoning=subject.text, profile=not names,
    )  # fmt: skip
    return task.model_copy(update={"hypothesis": told, "proposal": proposal, "techniques": names})


def _changes(subject: Issue, task: Task, best: Round, known: dict[str, Item]) -> tuple[Item, ...]:
    """What the plan changes on the backlog: hints that are new or gone, the subject taken up, others put back."""
    present = {issue.name: issue for issue in (*task.issues, subject)}
    changed = [_stated(issue, known.get(issue.name), taken=issue.name == subject.name) for issue in present.values()]
    gone = [item for item in known.values() if item.source == "hint" and item.id not in present]
    why = f"the profile of round {best.round} no longer complains about it"
    changed += [_set_aside(item, "abandoned", why) for item in gone if item.state in ("open", "in_progress")]
    return tuple(item for item in changed if _without_evidence(item) != _without_evidence(known.get(item.id)))


def _stated(issue: Issue, before: Item | None, *, taken: bool) -> Item:
    """An issue as it stands now: taken up, open, or parked with the autopsy of what was tried."""
    weight = round(issue.weight, 4)
    item = Item(id=issue.name, title=issue.text, relieves=(issue.name,), weight=weight, source="hint")
    if taken:
        return item.model_copy(update={"state": "in_progress"})
    if before and before.state in ("in_progress", "parked") and before.evidence:
        return _set_aside(item, "parked", f"something else promises more now; tried: {before.evidence[-1]}")
    return item


def _set_aside(item: Item, state: State, why: str) -> Item:
    return item.model_copy(update={"state": state, "reason": why, "evidence": ()})


def _without_evidence(item: Item | None) -> Item | None:
    return item and item.model_copy(update={"evidence": ()})
