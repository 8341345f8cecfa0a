"""The audit of answers, whoever asked for them: every one is screened, a part is judged by all that is known."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge import sampled
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.draws import compare
from pytest_vibeserve.judge.ratio import unseen_rate
from pytest_vibeserve.reference import Context
from pytest_vibeserve.report import Check
from pytest_vibeserve.variants import Variant

FIRST_LOOK = 6
"""Answers that are looked at before any others are asked for."""

SCREENED_TOKENS = {"quick": 5_000, "full": 400_000}
"""Tokens of prompt and answer that one examination screens at most; beyond it, answers are drawn at random."""

SCREENED_ANSWERS = {"quick": 16, "full": 160}
"""Answers that one examination screens at least, whatever the length of their prompts, up to `LONG`."""

LONG = 8_192
LONG_ANSWERS = {"quick": 8, "full": 40}
"""As many at least where answers have contexts of more than `LONG` tokens on average: each takes seconds of a card."""

SAMPLED_TOKENS = {"quick": 300, "full": 1_500}
"""Generated tokens of sampled answers that are compared with the distribution that was asked for."""

SUSPECT = 0.4
"""Share of the hard limit from which an answer's margin, seen by the fast computation, is looked at exactly."""


def examined(auditor: Auditor, answers: Sequence[Answer], draws: random.Random, part: int, prefix: str) -> list[Check]:
    """Checks `prefix.request`, over all screened answers, `prefix.margin` and the rest over `part` of them or more.

    The part is doubled while it leaves something undecided and there are more answers.
    """
    whole = [answer for answer in answers if not answer.fault and answer.tokens]
    drawn = [answer for answer in whole if answer.request.temperature > 0]
    pool = _affordable([answer for answer in whole if not answer.request.temperature], draws, auditor.depth)
    if not pool:
        return [_nothing(prefix)] if _greedy(answers) else []
    count = min(len(pool), part)
    held = auditor.gathered(pool[:count])
    checks = auditor.checks(held, prefix)
    while count < len(pool) and _undecided(checks):
        held += auditor.gathered(pool[count : 2 * count])
        count = min(len(pool), 2 * count)
        checks = auditor.checks(held, prefix)
    if any(check.result == "fail" for check in checks) or any(item.choice.retokenised for item in held):
        return checks
    exact = auditor.gathered([*_suspects(auditor, pool[count:])], noise=False)
    screened = auditor.single([*held, *exact], prefix)
    words = f"{screened.detail}; {len(pool)} of {len(whole) - len(drawn)} greedy answers were screened"
    checks = [check for check in checks if check.name != screened.name]
    return [
        screened.model_copy(update={"detail": words}),
        *checks,
        *_distribution(auditor, drawn, draws, prefix),
        _counted(len(pool), prefix),
    ]


def glanced(auditor: Auditor, answers: Sequence[Answer], prefix: str) -> list[Check]:
    """The check of single requests alone, without the noise floor, over a few answers: seconds tell what is gross.

    Empty where nothing is broken, and for answers without token ids, which take more than a glance.
    """
    greedy = [answer for answer in answers if not answer.fault and answer.tokens and not answer.request.temperature]
    held = auditor.gathered(greedy, noise=False)
    if not held or any(item.choice.retokenised for item in held):
        return []
    found = auditor.single(held, prefix)
    return auditor.explained(held, [found]) if found.result == "fail" else []


def settled(checks: Sequence[Check]) -> list[Check]:
    """A load and a relaunch yield the answers that they yield: what they leave open, the contract's audit decides."""
    return [
        check.model_copy(update={"result": "skip", "detail": f"left open by so few answers: {check.detail}"})
        if check.result == "inconclusive" else check
        for check in checks
    ]  # fmt: skip


def _greedy(answers: Sequence[Answer]) -> bool:
    return any(not answer.fault and not answer.request.temperature for answer in answers)


def _nothing(prefix: str) -> Check:
    words = "no greedy answer has a token that could be looked at"
    return Check(name=f"{prefix}.request", result="inconclusive", unit="logits", detail=words)


def _counted(audited: int, prefix: str) -> Check:
    words = f"a fault in {unseen_rate(audited):.2%} of requests would be missed in one run of a hundred"
    return Check(
        name=f"{prefix}.count", result="pass", statistic=audited, threshold=1, unit="answers",
        detail=f"{audited} greedy answers were audited: {words}",
    )  # fmt: skip


def _undecided(checks: Sequence[Check]) -> bool:
    return any(check.result == "inconclusive" for check in checks)


def _distribution(auditor: Auditor, answers: Sequence[Answer], draws: random.Random, prefix: str) -> list[Check]:
    kept: list[Answer] = []
    for answer in draws.sample(list(answers), len(answers)):
        if sum(other.tokens for other in kept) < SAMPLED_TOKENS[auditor.depth]:
            kept.append(answer)
    compared = compare(auditor, kept, draws.getrandbits(32))
    return sampled.checks(compared, f"{prefix}.sampled", sampled.IN_PASSING)


def _affordable(answers: Sequence[Answer], draws: random.Random, depth: str) -> list[Answer]:
    tokens, kept = SCREENED_TOKENS[depth], list[Answer]()
    whole = sum(len(answer.request.prompt_ids) + answer.tokens for answer in answers)
    least = (LONG_ANSWERS if whole > LONG * len(answers) else SCREENED_ANSWERS)[depth]
    for answer in draws.sample(list(answers), len(answers)):
        tokens -= len(answer.request.prompt_ids) + answer.tokens
        if tokens < 0 and len(kept) >= least:
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
