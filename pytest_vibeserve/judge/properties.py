"""What the fields of a request must mean, each as a property over drawn requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st

from pytest_vibeserve.completions import Choice
from pytest_vibeserve.judge.agreement import described
from pytest_vibeserve.judge.conversation import Breached, Conversation
from pytest_vibeserve.judge.draws import unlikely
from pytest_vibeserve.workload import Request

Property = Callable[[Conversation], None]
LONG_ENOUGH = 8
"""Sampled tokens that two independent draws hardly ever share."""


def max_tokens(talk: Conversation) -> None:
    """`max_tokens` is exact from 1 on, streamed or whole, with and without usage."""
    limit = talk.draw(st.integers(1, 9))
    stream = talk.draw(st.booleans())
    talk.ask(talk.request(max_tokens=limit, stream=stream, include_usage=talk.draw(st.booleans())))


def answer_length(talk: Conversation) -> None:
    """An answer may be longer than any of the load's, by as much again, and is the model's own to its end."""
    longest = max(kind.output_tokens[1] for kind in talk.bench.target.mix)
    request = talk.request(stream=talk.draw(st.booleans()))
    room = talk.bench.target.limits.context - len(request.prompt_ids)
    talk.ask(replace(request, max_tokens=min(room, talk.random().randint(longest + longest // 4, 2 * longest))))


def logprobs(talk: Conversation) -> None:
    """`logprobs` from 0 to 5 give as many entries at every position, and agree with the ids.

    They are the model's own, before temperature, bias and truncation, which is audited with all that is heard.
    """
    count, stream = talk.draw(st.integers(0, 5)), talk.draw(st.booleans())
    talk.ask(talk.request(logprobs=count, stream=stream, max_tokens=4))
    favoured = tuple((token, 2.0) for token in talk.random().sample(talk.bench.vocabulary.ordinary, 4))
    shaped = talk.request(logprobs=5, stream=stream, max_tokens=4, top_k=talk.draw(st.sampled_from([0, 20])))
    talk.ask(replace(shaped, temperature=talk.draw(st.sampled_from([0.5, 1.5])), logit_bias=favoured))


def stop(talk: Conversation) -> None:
    """A stop string, within a token or across several, ends the answer and shows neither itself nor what follows it."""
    request, first = _quotable(talk, talk.request(max_tokens=10))
    for place in (_anywhere(talk, first.text), _across(talk, first)):
        if place is not None:
            chosen = first.text[place : place + talk.draw(st.integers(3, 6))]
            stops = (chosen, "\x00never\x00") if talk.draw(st.booleans()) else (chosen,)
            talk.ask(replace(request, stop=stops, stream=talk.draw(st.booleans())))


def _quotable(talk: Conversation, request: Request) -> tuple[Request, Choice]:
    """The request and its answer, by whole tokens alone where the model's own choice is broken characters."""
    first = _first(talk, request)
    if not _places(first.text):
        whole = talk.random().sample(talk.bench.vocabulary.spelt, 8)
        request = replace(request, logit_bias=tuple((token, 100.0) for token in whole), ignore_eos=True)
        first = _first(talk, request)
    return request, first


def _places(text: str) -> list[int]:
    return [place for place in range(1, len(text) - 1) if "\ufffd" not in text[place : place + 6]]


def _anywhere(talk: Conversation, text: str) -> int | None:
    places = _places(text)
    return talk.random().choice(places) if places else None


def _across(talk: Conversation, choice: Choice) -> int | None:
    """A place two characters before the end of a token that is neither the first nor the last."""
    whole = [talk.bench.vocabulary.decode(choice.ids[:count]) for count in range(1, len(choice.ids))]
    ends = [len(text) - 2 for text in whole if len(text) > 2 and choice.text.startswith(text)]
    places = [place for place in ends if "\ufffd" not in choice.text[place : place + 6]]
    return talk.random().choice(places) if places else None


def choices(talk: Conversation) -> None:
    """The choices of `n` are numbered from 0 and are independent draws, with a seed and without one."""
    for number in (None, talk.draw(st.integers(0, 2**31 - 2))):
        count, stream = talk.draw(st.integers(2, 3)), talk.draw(st.booleans())
        request = talk.request(n=count, temperature=1.0, max_tokens=LONG_ENOUGH, stream=stream, seed=number)
        answer = talk.ask(request)[0]
        numbers = [choice.index for choice in answer.choices]
        if numbers != list(range(count)):
            raise Breached(f"the choices of n = {count} are numbered {numbers}", described(answer))
        if len({choice.ids for choice in answer.choices}) < count and unlikely(talk.auditor, answer):
            raise Breached("choices of n repeat each other where independent draws would differ", described(answer))


def seed(talk: Conversation) -> None:
    """The same seed alone gives the same answer, another seed another one."""
    request = talk.request(temperature=1.0, max_tokens=LONG_ENOUGH, seed=talk.draw(st.integers(0, 2**31 - 2)))
    first, again = (_first(talk, replace(request, stream=stream)) for stream in (False, talk.draw(st.booleans())))
    if first.ids != again.ids and first.text != again.text:
        retried = _first(talk, request)
        if retried.text not in (first.text, again.text):
            raise Breached("the same seed and prompt, alone, give different answers", f"{first.text!r}, {again.text!r}")
    other = talk.ask(replace(request, seed=(request.seed or 0) + 1))[0]
    if other.choices[0].ids == first.ids and unlikely(talk.auditor, other):
        raise Breached("another seed gives the very same unlikely answer", described(other))


def logit_bias(talk: Conversation) -> None:
    """A bias of -100 removes the greedy choice, +100 forces a token."""
    request = talk.request(max_tokens=3)
    best = _first(talk, request).ids[:1]
    if not best:
        return
    without = talk.ask(replace(request, logit_bias=((best[0], -100.0),), stream=talk.draw(st.booleans())))[0]
    if best[0] in without.choices[0].ids and not without.choices[0].retokenised:
        raise Breached(f"logit_bias -100 did not remove token {best[0]}", described(without))
    forced = talk.random().choice(talk.bench.vocabulary.ordinary)
    answer = talk.ask(replace(request, logit_bias=((forced, 100.0),)))[0]
    if set(answer.choices[0].ids) != {forced} and not answer.choices[0].retokenised:
        raise Breached(f"logit_bias +100 did not force token {forced}", described(answer))


def top_k_one(talk: Conversation) -> None:
    """`top_k` 1 is greedy whatever the temperature; its margins are audited with the greedy answers."""
    talk.ask(talk.request(temperature=talk.draw(st.sampled_from([0.7, 1.0])), top_k=1, stream=talk.draw(st.booleans())))


def stream(talk: Conversation) -> None:
    """A streamed answer and a whole one say the same, as far as near ties allow: both are audited."""
    request = talk.request(max_tokens=8)
    whole, streamed = talk.ask(request, replace(request, id=request.id + 10**6, stream=True, include_usage=True))
    if not streamed.events and whole.tokens:
        raise Breached("the stream carried no event with an id or text", described(streamed))


def end_token(talk: Conversation) -> None:
    """The end token ends an answer unless `ignore_eos` is set; it is in the ids and not in the text."""
    ends = tuple((token, 100.0) for token in sorted(talk.end_ids)[:1])
    if not ends:
        return
    request = talk.request(max_tokens=4, logit_bias=ends, ignore_eos=talk.draw(st.booleans()))
    answer = talk.ask(replace(request, stream=talk.draw(st.booleans())))[0]
    wanted = request.max_tokens if request.ignore_eos else 1
    if answer.tokens != wanted and not answer.choices[0].retokenised:
        raise Breached(f"{answer.tokens} tokens where the end token allows {wanted}", described(answer))


def prompts(talk: Conversation) -> None:
    """A list of prompts gives choices in their order, each judged by its own prompt."""
    requests = [talk.request(max_tokens=6) for _ in range(talk.draw(st.integers(2, 3)))]
    texts = [talk.bench.vocabulary.decode(request.prompt_ids) for request in requests]
    asked = replace(requests[0], n=len(texts), token_ids=False)
    found = talk.spelt(asked, prompt=texts, n=1, return_token_ids=True)
    if found.fault:
        raise Breached(f"a list of {len(texts)} prompts is not answered: {found.fault}", described(found))
    for text, choice in zip(texts, found.choices, strict=True):
        own = replace(asked, n=1, prompt_text=text, prompt_ids=talk.bench.vocabulary.encode(text))
        talk.checked([replace(found, request=own, choices=(replace(choice, index=0),), usage=None)])


def unknown_fields(talk: Conversation) -> None:
    """Fields that nobody knows are ignored."""
    request = talk.request(max_tokens=3)
    talk.checked([talk.spelt(request, x_field_of_tomorrow={"a": [1]}, user="somebody")])


def spellings(talk: Conversation) -> None:
    """A string prompt is tokenised as the tokenizer does, the spellings of special tokens parsed."""
    vocabulary = talk.bench.vocabulary
    special = [text for token in sorted(vocabulary.special)[:4] if (text := vocabulary.tokenizer.id_to_token(token))]
    pieces = ["caf\u00e9 ", "\u4f60\u597d", "\U0001f642", "  two  spaces", "\n", "x=1;", *special]
    text = "".join(talk.draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=4)))
    request = talk.request(max_tokens=3, stream=talk.draw(st.booleans()))
    talk.ask(replace(request, prompt_text=text, prompt_ids=vocabulary.encode(text)))


def characters(talk: Conversation) -> None:
    """A character whose bytes are tokens of their own comes out whole, however the stream is cut."""
    pair = byte_pair(talk)
    if pair is None:
        return
    # A high temperature evens the odds of the two tokens, so that whole and broken characters mix.
    request = talk.request(
        max_tokens=12, temperature=2.0, logit_bias=tuple((token, 100.0) for token in pair), stream=True
    )
    talk.ask(request, replace(request, id=request.id + 10**6, stream=False))


def byte_pair(talk: Conversation) -> tuple[int, int] | None:
    """Two tokens that are half a character each, None where the tokenizer has none."""
    vocabulary = talk.bench.vocabulary
    for lead, tail in (("\u00c3", "\u00a9"), ("<0xC3>", "<0xA9>")):
        first, second = vocabulary.tokenizer.token_to_id(lead), vocabulary.tokenizer.token_to_id(tail)
        # In byte-level vocabularies the byte A9 is spelt by the character of the same number.
        if first is not None and second is not None and vocabulary.decode((first, second)).strip() == "\u00e9":
            return first, second
    return None


def _first(talk: Conversation, request: Request) -> Choice:
    return talk.ask(request)[0].choices[0]


PROPERTIES: dict[str, Property] = {
    "max-tokens": max_tokens,
    "answer-length": answer_length,
    "logprobs": logprobs,
    "stop": stop,
    "n": choices,
    "seed": seed,
    "logit-bias": logit_bias,
    "top-k": top_k_one,
    "stream": stream,
    "end-token": end_token,
    "prompts": prompts,
    "unknown-fields": unknown_fields,
    "tokenisation": spellings,
    "unicode": characters,
}
