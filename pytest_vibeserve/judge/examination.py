"""The audit of the answers that a benchmark measured: every one is screened, a part is judged like any other."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.reference import Context
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Audit
from pytest_vibeserve.variants import Variant

SCREENED_TOKENS = {"quick": 5_000, "full": 400_000}
"""Tokens of prompt and answer that one examination screens at most; beyond it, answers are drawn at random."""

SUSPECT = 0.4
"""Share of the hard limit from which an answer's margin, seen by the fast computation, is looked at exactly."""


def examined(auditor: Auditor, answers: Sequence[Answer], draws: random.Random, audit: Audit) -> list[Check]:
    """Checks `load.request`, over all screened answers, and `load.margin` and the rest over a drawn part of them."""
    whole = [answer for answer in answers if not answer.fault and answer.request.temperature == 0 and answer.tokens]
    if not whole:
        return []
    pool = _affordable(whole, draws, SCREENED_TOKENS[auditor.depth])
    count = min(len(pool), audit.quick // 3 if auditor.depth == "quick" else audit.full // 2)
    part = auditor.gathered(pool[:count])
    checks = auditor.checks(part, "load")
    while count < len(pool) and any(check.result == "inconclusive" for check in checks):
        part += auditor.gathered(pool[count : 2 * count])
        count = min(len(pool), 2 * count)
        checks = auditor.checks(part, "load")
    if any(check.result == "fail" for check in checks) or any(item.choice.retokenised for item in part):
        return checks
    rest = pool[count:]
    exact = auditor.gathered([*_suspects(auditor, rest)], noise=False)
    screened = auditor.single([*part, *exact], "load")
    words = f"{screened.detail}; {len(pool)} of {len(whole)} measured answers were screened"
    checks = [check for check in checks if check.name != screened.name]
    return [screened.model_copy(update={"detail": words}), *_settled(checks)]


def _settled(checks: Sequence[Check]) -> list[Check]:
    """A load yields the answers that it yields: what they leave open, the audit of the contract decides."""
    return [
        check.model_copy(update={"result": "skip", "detail": f"left open by this load's answers: {check.detail}"})
        if check.result == "inconclusive" else check
        for check in checks
    ]  # fmt: skip


def _affordable(answers: Sequence[Answer], draws: random.Random, tokens: int) -> list[Answer]:
    order = draws.sample(list(answers), len(answers))
    kept: list[Answer] = []
    for answer in order:
        tokens -= len(answer.request.prompt_ids) + answer.tokens
        if kept and tokens < 0:
            break
        kept.append(answer)
    return kept


def _suspects(auditor: Auditor, answers: Sequence[Answer]) -> list[Answer]:
    """Answers whose margins are large already in the model's own precision, which is several times faster."""
    cases = [(answer, choice) for answer in answers for choice in answer.choices]
    contexts = [Context(answer.request.prompt_ids, choice.ids) for answer, choice in cases]
    found = []
    fast = Variant("screen", auditor.reference.dtype)
    for index, (logits,) in auditor.reference.walk(contexts, (fast,)) if contexts else ():
        chosen = logits[range(len(logits)), list(contexts[index].output)]
        if float((logits.max(axis=1) - chosen).max()) > SUSPECT * auditor.limit:
            found.append(cases[index][0])
    return found
