"""How a run stands, in a sentence or two, and the exit code that says it to programs."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_vibeserve.errors import ExitCode
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage, orders
from vibeserve_loop.records import Round
from vibeserve_loop.schedule import FAILURES_ALLOWED


def verdict_of(rounds: Sequence[Round], early: str = "") -> tuple[ExitCode, str]:
    """The run's exit code and its verdict; `early` says why it ended before its time, such as `interrupted`."""
    early = early or ("stopped" if orders.standing(rounds) == "stop" else "")
    code, words = _of_winner(rounds) or _of_starter(rounds) or _of_search(rounds, early)
    return code, " ".join(part for part in (words, _unconfirmed(rounds, early), _failing(rounds)) if part)


def _of_winner(rounds: Sequence[Round]) -> tuple[ExitCode, str] | None:
    final = lineage.winner(rounds)
    found = final.assessment.comparison if final and final.assessment else None
    if final is None or found is None:
        return None
    gain = gain_text(found.gain, found.low, found.high)
    return ExitCode.ACCEPTED, f"The winner is round {final.task.base}: {gain} over the starter, by the full gate."


def _of_starter(rounds: Sequence[Round]) -> tuple[ExitCode, str] | None:
    if lineage.starter(rounds) is not None:
        return None
    if not rounds:
        return ExitCode.NOTHING, "Nothing was judged yet."
    last = rounds[-1]
    rejected = last.decision.ruling == "reject"
    unsettled = last.assessment is not None and last.assessment.outcome == "inconclusive"
    code = ExitCode.REJECTED if rejected else ExitCode.INFRASTRUCTURE
    return ExitCode.INCONCLUSIVE if unsettled else code, f"The starter was not accepted: {last.decision.reason}"


def _of_search(rounds: Sequence[Round], early: str) -> tuple[ExitCode, str]:
    """Without a winner; code that was kept and not put to a final gate is told of by `_unconfirmed`."""
    if early and _standing(rounds):
        return ExitCode.ACCEPTED, ""
    if any(r.task.kind == "final" and r.decision.ruling == "reject" for r in rounds):
        return ExitCode.INCONCLUSIVE, "No candidate that was kept passed the full gate; the starter stands."
    if not lineage.judged_work(rounds) and lineage.failures(rounds):
        return ExitCode.NOTHING, "No work was judged; the starter stands (judged by a quick gate)."
    return ExitCode.ACCEPTED, "Nothing better than the starter was found; the starter stands (judged by a quick gate)."


def _standing(rounds: Sequence[Round]) -> Round | None:
    """The incumbent, where it is work that no final gate has been asked about."""
    best = lineage.incumbent(rounds)
    asked = {r.task.base for r in rounds if r.task.kind == "final" and r.decision.ruling != "void"}
    return best if best and best.task.kind == "work" and best.round not in asked else None


def _unconfirmed(rounds: Sequence[Round], early: str) -> str:
    best = _standing(rounds) if early else None
    if best is None:
        return f"The run {_told(early)}." if early else ""
    gain = gain_text(*lineage.gain_over_starter(rounds, best))
    return f"The run {_told(early)}; round {best.round} stands at {gain} over the starter by its gate, not confirmed."


def _told(early: str) -> str:
    return "was stopped" if early == "stopped" else early


def _failing(rounds: Sequence[Round]) -> str:
    failed = lineage.failures(rounds)
    if len(failed) < FAILURES_ALLOWED:
        return ""
    last = failed[0]
    why = last.work.failed if last.work else last.decision.reason
    return f"The agent failed {len(failed)} times in a row, the last time in round {last.round}: {why}"
