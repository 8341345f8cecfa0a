"""Which techniques to apply next: candidates for one round, best first; a pure function of the rounds and the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vibeserve_loop.ledger import lineage
from vibeserve_loop.records import Round, Task
from vibeserve_loop.skills import Technique

STRONG = 0.5
"""An issue of this weight justifies a technique together with its missing prerequisites in one round."""
COMPANION_COST = 0.2
"""Each prerequisite applied along costs this much: a smaller step says more when it fails."""
UNLOCKING = 0.25
"""The share of a technique's relief that is credited to what it still needs."""
LARGE_GAIN = 1.3
"""After an accepted gain of this size a refused technique gets a second chance."""
SECOND_CHANCE = 0.5
KIN = 0.4
"""What a variant is still worth once another variant of its skill is in the code, or was refused."""
LATER_VARIANT = 0.02
"""Variants are listed the likeliest first."""
VOID_TRIES = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """Techniques to apply in this order in one round, and what they promise."""

    techniques: tuple[Technique, ...]
    score: float

    @property
    def names(self) -> tuple[str, ...]:
        """The techniques' names."""
        return tuple(technique.name for technique in self.techniques)


class Ledger:
    """What the rounds say about the techniques, seen from one base."""

    def __init__(self, rounds: Sequence[Round], base: int) -> None:
        """Fold the rounds."""
        work = [r for r in rounds if r.task.kind == "work" and r.work]
        here = [r for r in work if r.task.base == base]
        self.applied = lineage.applied(rounds, rounds[base])
        self.applied_skills = frozenset(_skill(name) for name in self.applied)
        self.skipped = frozenset(name for r in here if r.work for name in r.work.skipped)
        self._work, self._base = work, base
        self._judged = self.applied | {n for r in work if r.work and _refused(r) for n in r.work.techniques[-1:]}
        self._neutral = frozenset(
            _skill(r.work.techniques[0]) for r in work if r.work and len(r.work.techniques) == 1 and _no_difference(r)
        )

    def chances(self, names: tuple[str, ...]) -> float:
        """How much a plan of these techniques is still worth trying: 1 when new, 0 when it had its chances."""
        tries = [r for r in self._work if r.work and set(r.work.techniques) == set(names)]
        voids = [r for r in tries if r.decision.ruling == "void" and r.task.base == self._base]
        refused = [r for r in tries if _refused(r)]
        if len(voids) >= VOID_TRIES or len(refused) > 1 or any(r.task.base == self._base for r in refused):
            return 0.0
        if not refused:
            return 1.0
        return SECOND_CHANCE if self._grew_since(refused[0].round) else 0.0

    def freshness(self, technique: Technique) -> float:
        """1 for a skill that nobody has judged yet, less for one of which another variant was."""
        kin = {name for name in self._judged if _skill(name) == technique.skill and name != technique.name}
        return KIN if kin else 1.0

    def neutral(self, skills: Sequence[str]) -> bool:
        """Whether each of these was tried by itself and made no difference."""
        return all(skill in self._neutral for skill in skills)

    def _grew_since(self, number: int) -> bool:
        later = [r for r in self._work if r.round > number and r.decision.ruling == "accept"]
        return any(_gain(r) >= LARGE_GAIN for r in later)


def plans(known: Sequence[Technique], task: Task, rounds: Sequence[Round], seed: int) -> tuple[Plan, ...]:
    """Every plan worth a round on the task's base: what the task names, then by promise; ties fall by the seed."""
    ledger = Ledger(rounds, task.base)
    weights = {issue.name: issue.weight for issue in task.issues}
    found = []
    for technique in known:
        if technique.name in ledger.applied:
            continue
        companions = _missing(technique, known, ledger)
        if companions is None or not _allowed(technique, companions, weights, ledger):
            continue
        members = (*companions, technique)
        names = tuple(member.name for member in members)
        chances = ledger.chances(names)
        if chances > 0 and not ledger.skipped.intersection(names):
            promise = _promise(members, known, weights, ledger) - LATER_VARIANT * _place(technique, known)
            found.append(Plan(members, chances * ledger.freshness(technique) * promise))
    if task.techniques and all(task.techniques != plan.names for plan in found):
        found += _named(task.techniques, known, ledger)
    turn = lineage.turns(rounds)
    return tuple(sorted(found, key=lambda p: (p.names != task.techniques, -round(p.score, 9), _lot(p, seed, turn))))


def left_over(known: Sequence[Technique], task: Task, rounds: Sequence[Round], seed: int) -> tuple[Plan, ...]:
    """The plans without those that rounds under way on the same base have begun; all of them where none is left."""
    begun: set[tuple[str, ...]] = set()
    for record in rounds:
        if record.decision.ruling == "pending" and record.task.kind == "work" and record.task.base == task.base:
            likely = plans(known, record.task, rounds[: record.round], seed)
            begun.update([next(plan.names for plan in likely if plan.names not in begun)] if likely else [])
    every = plans(known, task, rounds, seed)
    return tuple(plan for plan in every if plan.names not in begun) or every


def _named(names: tuple[str, ...], known: Sequence[Technique], ledger: Ledger) -> list[Plan]:
    """The plan of exactly these techniques, unless one is unknown, in the code already, or did not apply here."""
    members = [technique for name in names for technique in known if technique.name == name]
    unfit = ledger.skipped.union(ledger.applied).intersection(names)
    return [] if len(members) < len(names) or unfit or not ledger.chances(names) else [Plan(tuple(members), 0.0)]


def _missing(technique: Technique, known: Sequence[Technique], ledger: Ledger) -> tuple[Technique, ...] | None:
    """The prerequisites that are not in the code yet, in the order to apply them; None when one is unknown."""
    order: list[Technique] = []
    waiting = [(skill, frozenset({technique.skill})) for skill in reversed(technique.requires)]
    while waiting:
        skill, above = waiting.pop()
        if skill in ledger.applied_skills or any(t.skill == skill for t in order):
            continue
        choice = next((t for t in known if t.skill == skill and t.name not in ledger.skipped), None)
        if choice is None or skill in above:
            return None
        deeper = [s for s in choice.requires if s not in ledger.applied_skills and all(t.skill != s for t in order)]
        if deeper:
            waiting.append((skill, above))
            waiting += [(s, above | {skill}) for s in reversed(deeper)]
        else:
            order.append(choice)
    return tuple(order)


def _allowed(
    technique: Technique, companions: Sequence[Technique], weights: Mapping[str, float], ledger: Ledger
) -> bool:
    """Companions come along when the issue is strong, or when each was tried alone and made no difference."""
    strongest = max((weights.get(name, 0.0) for name in technique.relieves), default=0.0)
    return not companions or strongest >= STRONG or ledger.neutral([c.skill for c in companions])


def _promise(
    members: Sequence[Technique], known: Sequence[Technique], weights: Mapping[str, float], ledger: Ledger
) -> float:
    """Weight of the issues that are relieved, a share of what is unlocked, less the cost of companions."""
    relieved = {name for member in members for name in member.relieves}
    skills = {member.skill for member in members}
    unlocked = {
        name for other in known if other.skill not in ledger.applied_skills | skills and skills & set(other.requires)
        for name in other.relieves
    }  # fmt: skip
    now = sum(weights.get(name, 0.0) for name in relieved)
    later = sum(weights.get(name, 0.0) for name in unlocked - relieved)
    return now + UNLOCKING * later - COMPANION_COST * (len(members) - 1)


def _place(technique: Technique, known: Sequence[Technique]) -> int:
    return [t.variant for t in known if t.skill == technique.skill].index(technique.variant)


def _refused(record: Round) -> bool:
    return record.decision.ruling == "reject"


def _skill(name: str) -> str:
    return name.partition(":")[0]


def _no_difference(record: Round) -> bool:
    found = record.assessment.comparison if record.assessment else None
    return record.decision.ruling == "reject" and found is not None and found.conclusion == "no difference shown"


def _gain(record: Round) -> float:
    found = record.assessment.comparison if record.assessment else None
    return found.gain if found else 1.0


def _lot(plan: Plan, seed: int, number: int) -> str:
    return hashlib.sha256(f"{seed}/{number}/{'+'.join(plan.names)}".encode()).hexdigest()
