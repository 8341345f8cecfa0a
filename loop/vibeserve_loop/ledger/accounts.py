"""What a run has used up, by role and by round, what is left, and what a further gain would probably cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.fold import facts_of
from vibeserve_loop.records import Budget, Round, Share
from vibeserve_loop.roles import Left

FULL_OVER_QUICK = 4.5
"""How much longer the full gate of a champion is expected to take than the shortest quick gate of the run."""
MOST_ROUNDS = 30
"""Rounds that the last page tells one by one; progress.md has them all."""
RECENT = 8
"""Rounds of work from which the price of a further gain is worked out."""


class Cost(BaseModel):
    """What one role used: paid calls are sessions that spent tokens or money, or whose agent asked a model."""

    model_config = ConfigDict(frozen=True)

    role: str
    rounds: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    tokens: int = 0


class Account(BaseModel):
    """The costs of a run by role and by round, and the forecast of a further gain."""

    model_config = ConfigDict(frozen=True)

    roles: tuple[Cost, ...]
    rounds: tuple[Cost, ...]
    calls: int
    gains: int
    calls_per_gain: float | None
    next_gain: str


def account(rounds: Sequence[Round]) -> Account:
    """Fold the rounds; a round's gate is what its time leaves after the agent's."""
    gains = [r for r in lineage.judged_work(rounds) if r.decision.ruling == "accept"]
    calls = [r for r in rounds if r.work]
    return Account(
        roles=tuple(_role(name, rounds) for name in ("planner", "implementer", "gate")),
        rounds=tuple(_sum(f"round {r.round} {r.task.kind}", [r], whole=True) for r in rounds),
        calls=len(calls),
        gains=len(gains),
        calls_per_gain=len(calls) / len(gains) if gains else None,
        next_gain=_forecast(rounds),
    )


def kept_back_s(rounds: Sequence[Round], budget: Budget) -> float:
    """Seconds of the budget that the final gate is expected to need; half of it at most, or nothing would be found."""
    shortest_s = facts_of(rounds).shortest_gate_s
    expected_s = FULL_OVER_QUICK * shortest_s if math.isfinite(shortest_s) else 0.0
    return expected_s if budget.max_hours is None else min(expected_s, budget.max_hours * 1800)


def left_for(budget: Budget, rounds: Sequence[Round]) -> Left:
    """What one session may use up: all that is left, but for the time of a gate on its work and of the final one."""
    shortest_s = facts_of(rounds).shortest_gate_s
    gates_s = kept_back_s(rounds, budget) + (shortest_s if math.isfinite(shortest_s) else 0.0)
    return Left(
        math.inf if budget.max_hours is None else max(0.0, budget.max_hours * 3600 - lineage.seconds(rounds) - gates_s),
        math.inf if budget.max_usd is None else max(0.0, budget.max_usd - lineage.dollars(rounds)),
        math.inf if budget.max_tokens is None else max(0, budget.max_tokens - lineage.tokens(rounds)),
    )


def share_for(budget: Budget, rounds: Sequence[Round], sessions: int) -> Share | None:
    """What one of so many sessions may spend that are not promised anything yet; None where nothing limits them."""
    if budget.max_usd is None and budget.max_tokens is None:
        return None
    left = left_for(budget, rounds)
    return Share(
        usd=left.usd / sessions if math.isfinite(left.usd) else None,
        tokens=int(left.tokens // sessions) if math.isfinite(left.tokens) else None,
    )


def of_share(left: Left, share: Share | None) -> Left:
    """What is left, as far as the session's share goes."""
    if share is None:
        return left
    usd, tokens = (math.inf if most is None else most for most in (share.usd, share.tokens))
    return replace(left, usd=min(left.usd, usd), tokens=min(left.tokens, tokens))


def left_of(budget: Budget, rounds: Sequence[Round]) -> str:
    """What the budgets leave, in words; empty when there is no budget."""
    left = []
    if budget.max_rounds is not None:
        left.append(f"{max(0, budget.max_rounds - len(lineage.judged_work(rounds)))} rounds")
    if budget.max_hours is not None:
        spare = budget.max_hours * 3600 - lineage.seconds(rounds)
        left.append(
            f"{max(0.0, spare) / 60:.0f} min, {kept_back_s(rounds, budget) / 60:.0f} of them for the final gate"
        )
    if budget.max_usd is not None:
        left.append(f"{max(0.0, budget.max_usd - lineage.dollars(rounds)):.2f} USD")
    if budget.max_tokens is not None:
        left.append(f"{max(0, budget.max_tokens - lineage.tokens(rounds))} tokens")
    return " and ".join(left)


def account_lines(found: Account) -> list[str]:
    """The account as lines of the last page."""
    lines = ["| role | rounds | min | USD | tokens |", "|-|-|-|-|-|"]
    lines += [f"| {c.role} | {c.rounds} | {c.seconds / 60:.1f} | {c.usd:.2f} | {c.tokens} |" for c in found.roles]
    each = "none yet" if found.calls_per_gain is None else f"{found.calls_per_gain:.1f} each"
    lines += ["", *_round_lines(found.rounds)]
    return [*lines, "", f"{found.calls} sessions of agents for {found.gains} gains ({each}). {found.next_gain}"]


def _round_lines(rounds: Sequence[Cost]) -> list[str]:
    """The rounds that took the longest, in their order, and the others together; orders take nothing."""
    known = [cost for cost in rounds if cost.seconds or cost.tokens or cost.usd]
    least = sorted((cost.seconds for cost in known), reverse=True)[:MOST_ROUNDS][-1:]
    shown = [cost for cost in known if cost.seconds >= least[0]][:MOST_ROUNDS]
    rest = [cost for cost in known if cost not in shown]
    if rest:
        total = Cost(
            role=f"{len(rest)} others (progress.md)", seconds=sum(c.seconds for c in rest),
            usd=sum(c.usd for c in rest), tokens=sum(c.tokens for c in rest),
        )  # fmt: skip
        shown.append(total)
    lines = [f"| {c.role} | {c.seconds / 60:.1f} | {c.usd:.2f} | {c.tokens} |" for c in shown]
    return ["| round | min | USD | tokens |", "|-|-|-|-|", *lines]


def _role(name: str, rounds: Sequence[Round]) -> Cost:
    if name == "gate":
        judged = [r for r in rounds if r.assessment]
        return Cost(role=name, rounds=len(judged), seconds=sum(gate_s(r) for r in judged))
    kind = "plan" if name == "planner" else "work"
    return _sum(name, [r for r in rounds if r.task.kind == kind and r.work])


def _sum(name: str, rounds: Sequence[Round], *, whole: bool = False) -> Cost:
    seconds: Callable[[Round], float] = (lambda r: r.wall_s) if whole else (lambda r: r.wall_s - gate_s(r))
    return Cost(
        role=name, rounds=len(rounds), seconds=sum(seconds(r) for r in rounds), usd=lineage.dollars(rounds),
        tokens=lineage.tokens(rounds),
    )  # fmt: skip


def gate_s(record: Round) -> float:
    """Seconds of a round that its gate took: what its time leaves after the agent's."""
    if record.assessment is None:
        return 0.0
    return max(0.0, record.wall_s - (record.work.spend.seconds if record.work else 0.0))


def _forecast(rounds: Sequence[Round]) -> str:
    """The mean cost of the latest rounds over the share of them that gained (one success and one failure added)."""
    work = lineage.judged_work(rounds)[-RECENT:]
    if not work:
        return "Nothing says yet what a further gain would cost."
    kept = [r for r in work if r.decision.ruling == "accept"]
    needed = (len(work) + 2) / (len(kept) + 1)
    compared = [r.assessment.comparison for r in kept if r.assessment and r.assessment.comparison]
    size = math.exp(sum(math.log(c.gain) for c in compared) / len(compared)) if compared else None
    first = work[0].round
    spent = [r for r in rounds if r.round >= first and r.task.kind in ("work", "plan")]
    minutes = lineage.seconds(spent) / len(work) * needed / 60
    money = lineage.dollars(spent) / len(work) * needed
    dollars = f" and {money:.2f} USD" if money else ""
    like = f", of about x{size:.2f} if it is like the latest" if size else ""
    return f"A further gain would cost about {needed:.1f} rounds, {minutes:.1f} min{dollars}{like}."
