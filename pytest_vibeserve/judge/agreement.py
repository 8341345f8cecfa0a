"""Whether the parts of an answer agree with each other: ids, text, usage, prompt and logprobs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.termination import Breach, cut, ended_rightly
from pytest_vibeserve.report import Check
from pytest_vibeserve.workload import Request, Vocabulary

ROUNDING = 2e-3
"""How far (nats) two renderings of one logprob may lie apart, and a sum of probabilities above one."""

MISSING = "no token ids, which were asked for and which other answers of this server have"

NAMES = (
    "answered", "token-ids", "finish-reason", "max-tokens", "end-token",
    "ids", "text", "stop", "prompt-ids", "usage", "logprob-entries",
)  # fmt: skip


def breaches(answer: Answer, vocabulary: Vocabulary, end_ids: frozenset[int]) -> Iterator[Breach]:
    """Every way in which one answer disagrees with itself or with its request."""
    if answer.fault:
        yield Breach("answered", answer.fault)
        return
    for choice in answer.choices:
        yield from ended_rightly(answer.request, choice, vocabulary, end_ids)
        yield from _text(answer.request, choice, vocabulary)
        yield from _logprobs(answer.request, choice)
    yield from _counts(answer)


def agreement_checks(
    answers: Sequence[Answer], vocabulary: Vocabulary, end_ids: frozenset[int], prefix: str
) -> list[Check]:
    """One check for each property over all the answers, `prefix.name`, with the first breach as its example."""
    found: dict[str, list[tuple[Answer, Breach]]] = {name: [] for name in NAMES}
    found["token-ids"] = [(answer, Breach("token-ids", MISSING)) for answer in _without_ids(answers)]
    for answer in answers:
        for breach in breaches(answer, vocabulary, end_ids):
            found[breach.name].append((answer, breach))
    return [
        Check(
            name=f"{prefix}.{name}",
            result="fail" if broken else "pass",
            statistic=len(broken),
            threshold=0,
            unit="breaches",
            detail=broken[0][1].message if broken else f"{len(answers)} answers agree",
            example=described(broken[0][0]) if broken else "",
        )
        for name, broken in found.items()
    ]


def _without_ids(answers: Sequence[Answer]) -> list[Answer]:
    """Answers that lack the ids that were asked for, where others of the same server have them."""
    asked = [answer for answer in answers if answer.request.token_ids and not answer.fault]
    lacking = [answer for answer in asked if any(choice.retokenised and choice.text for choice in answer.choices)]
    having = any(choice.ids and not choice.retokenised for answer in asked for choice in answer.choices)
    return lacking if having else []


def described(answer: Answer) -> str:
    """A request and its answer on one line, short enough to read."""
    request = answer.request
    prompt = repr(request.prompt_text[:60]) if request.prompt_text else f"{list(request.prompt_ids[:12])}"
    wanted = {
        name: value
        for name, value in (
            ("max_tokens", request.max_tokens), ("temperature", request.temperature), ("top_p", request.top_p),
            ("top_k", request.top_k), ("n", request.n), ("stop", request.stop), ("seed", request.seed),
            ("stream", request.stream), ("logprobs", request.logprobs), ("logit_bias", request.logit_bias[:4]),
        )
        if value not in (None, (), 0, 1.0) or name in ("max_tokens", "temperature")
    }  # fmt: skip
    said = "; ".join(f"{c.finish_reason}: ids {list(c.ids[:24])} text {c.text[:60]!r}" for c in answer.choices)
    return f"prompt {prompt} ({len(request.prompt_ids)} tokens), {wanted} -> {said or answer.fault}"


def _text(request: Request, choice: Choice, vocabulary: Vocabulary) -> Iterator[Breach]:
    if any(stop in choice.text for stop in request.stop):
        yield Breach("stop", f"a stop string of {list(request.stop)} is in the text {choice.text[-60:]!r}")
        return
    if choice.retokenised:
        return
    if any(not 0 <= token < vocabulary.size for token in choice.ids):
        yield Breach("ids", f"an id outside the vocabulary of {vocabulary.size} in {list(choice.ids)}")
        return
    allowed = {cut(text, request.stop)[0] for text in _spellings(request, choice, vocabulary)}
    allowed |= {text.rstrip("\ufffd") for text in allowed}
    if choice.text not in allowed:
        wanted = cut(vocabulary.decode(choice.ids), request.stop)[0]
        yield Breach("text", f"the text is {choice.text[:80]!r} where the ids say {wanted[:80]!r}")


def _spellings(request: Request, choice: Choice, vocabulary: Vocabulary) -> tuple[str, str]:
    """The ids decoded alone, and decoded after the prompt: some tokenizers drop a leading space in the first."""
    whole, before = vocabulary.decode(request.prompt_ids + choice.ids), vocabulary.decode(request.prompt_ids)
    return vocabulary.decode(choice.ids), whole[len(before) :]


def _counts(answer: Answer) -> Iterator[Breach]:
    request = answer.request
    retokenised = any(choice.retokenised for choice in answer.choices)
    if request.token_ids and not retokenised and answer.prompt_ids != request.prompt_ids:
        found = "missing" if answer.prompt_ids is None else f"{list(answer.prompt_ids[:12])} ({len(answer.prompt_ids)})"
        wanted = f"{list(request.prompt_ids[:12])} ({len(request.prompt_ids)})"
        yield Breach("prompt-ids", f"prompt_token_ids are {found} where the prompt is {wanted}")
    if answer.usage is None:
        if request.stream and request.include_usage:
            yield Breach("usage", "no usage in a stream that asked for it")
    elif not retokenised and answer.usage != (len(request.prompt_ids), answer.tokens):
        yield Breach("usage", f"usage says {answer.usage}, the ids say {(len(request.prompt_ids), answer.tokens)}")


def _logprobs(request: Request, choice: Choice) -> Iterator[Breach]:
    if request.logprobs is None or choice.retokenised:
        return
    if len(choice.logprobs) != len(choice.ids):
        yield Breach("logprob-entries", f"{len(choice.logprobs)} logprobs for {len(choice.ids)} tokens")
        return
    for position, (token, said) in enumerate(zip(choice.ids, choice.logprobs, strict=True)):
        known, values = dict(said.top), [value for _, value in said.top]
        wrong = ""
        if not all(math.isfinite(value) and value <= ROUNDING for value in (said.chosen, *values)):
            wrong = "a logprob that is positive or not a number"
        elif sum(math.exp(value) for value in known.values()) > 1 + ROUNDING:
            wrong = "probabilities that add up to more than one"
        elif not request.logprobs <= len(known) <= request.logprobs + 1:
            wrong = f"{len(known)} entries where {request.logprobs} were asked for, and the chosen one"
        elif token not in known and request.logprobs > 0:
            wrong = f"the chosen token {token} is not among {list(known)}"
        elif abs(known.get(token, said.chosen) - said.chosen) > ROUNDING:
            wrong = f"two logprobs for the chosen token {token}: {known[token]:.4f} and {said.chosen:.4f}"
        if wrong:
            yield Breach("logprob-entries", f"at position {position}: {wrong}")
            return
