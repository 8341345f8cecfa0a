"""What each candidate of known worth does to what passes: to a request's body, and to each event of its answer.

Copied into a candidate's folder beside `fault_proxy.py`; needs nothing beyond the standard library, except that
`wrong-token` reads the model's tokenizer with `tokenizers` to keep text and ids in step.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

EVERY = 20
WRONG_ID = 7
READ = 12

Body = dict[str, Any]
Memory = dict[int, list[int]]


class Spoiler:
    """What one fault does to a request's body and to each event of its answer; this one does nothing."""

    def __init__(self, model: str) -> None:
        self.model = model

    def request(self, body: Body) -> Body:
        """The body to send on."""
        return body

    def event(self, event: Body, body: Body, memory: Memory) -> Body:
        """The event to send back; `memory` holds the ids sent so far, by choice."""
        return event


class Other(Spoiler):
    """Sends on what a function makes of the body."""

    def __init__(self, model: str, change: Callable[[Body], Body]) -> None:
        super().__init__(model)
        self.change = change

    def request(self, body: Body) -> Body:  # noqa: D102
        return self.change(body)


def without(field: str, model: str) -> Spoiler:
    """A field is ignored."""
    return Other(model, lambda body: {key: value for key, value in body.items() if key != field})


def greedy(model: str) -> Spoiler:
    """Sampling is ignored."""
    return Other(model, lambda body: {**body, "temperature": 0})


def cut(model: str) -> Spoiler:
    """Answers are shorter than asked for."""
    return Other(model, lambda body: {**body, "max_tokens": max(1, int(body.get("max_tokens", 16)) * 3 // 4)})


def constant(model: str) -> Spoiler:
    """Every prompt is answered as if it were the same one."""

    def change(body: Body) -> Body:
        prompt = body.get("prompt")
        several = isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], str)
        return {**body, "prompt": ["once"] * len(prompt or ()) if several else "once"}

    return Other(model, change)


class Copied(Spoiler):
    """One choice stands for all of `n`."""

    def request(self, body: Body) -> Body:  # noqa: D102
        return {**body, "n": 1}

    def event(self, event: Body, body: Body, memory: Memory) -> Body:  # noqa: D102
        count = int(body.get("n") or 1)
        choices = event.get("choices", [])
        event["choices"] = [{**one, "index": one["index"] * count + k} for one in choices for k in range(count)]
        if event.get("usage"):
            event["usage"]["completion_tokens"] *= count
            event["usage"]["total_tokens"] = sum(event["usage"][f"{part}_tokens"] for part in ("prompt", "completion"))
        return event


class Shortened(Spoiler):
    """Of a prompt in token ids only the last few are read, and all are reported as read."""

    def request(self, body: Body) -> Body:  # noqa: D102
        return {**body, "prompt": body["prompt"][-READ:]} if _in_ids(body) else body

    def event(self, event: Body, body: Body, memory: Memory) -> Body:  # noqa: D102
        if _in_ids(body):
            if "prompt_token_ids" in event:
                event["prompt_token_ids"] = body["prompt"]
            if event.get("usage"):
                event["usage"]["prompt_tokens"] = len(body["prompt"])
        return event


class Fabricated(Spoiler):
    """Reported logprobs have the right order and made-up values."""

    def event(self, event: Body, body: Body, memory: Memory) -> Body:  # noqa: D102
        for choice in event.get("choices", []):
            told = choice.get("logprobs")
            if told and "token_logprobs" in told:
                told["token_logprobs"] = [_invented(value) for value in told["token_logprobs"]]
                told["top_logprobs"] = [
                    {key: _invented(value) for key, value in (top or {}).items()} for top in told["top_logprobs"]
                ]
        return event


def _in_ids(body: Body) -> bool:
    prompt = body.get("prompt")
    return isinstance(prompt, list) and len(prompt) > READ and isinstance(prompt[0], int)


def _invented(value: float | None) -> float | None:
    return None if value is None else 0.5 * value - 0.7


class Usage(Spoiler):
    """The usage claims twice the tokens."""

    def event(self, event: Body, body: Body, memory: Memory) -> Body:  # noqa: D102
        if event.get("usage"):
            event["usage"]["completion_tokens"] *= 2
        return event


class WrongToken(Spoiler):
    """Every twentieth token is another one, in ids and text alike."""

    def __init__(self, model: str) -> None:
        from tokenizers import Tokenizer

        super().__init__(model)
        self.tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))

    def event(self, event: Body, body: Body, memory: Memory) -> Body:  # noqa: D102
        for choice in event.get("choices", []):
            ids = memory.setdefault(choice.get("index", 0), [])
            before = self.tokenizer.decode(ids)
            fresh = choice.get("token_ids") or []
            spoilt = [WRONG_ID if (len(ids) + k) % EVERY == EVERY - 1 else token for k, token in enumerate(fresh)]
            ids += spoilt
            if fresh:
                choice.update(token_ids=spoilt, text=self.tokenizer.decode(ids)[len(before) :])
        return event


SPOILERS: dict[str, Callable[[str], Spoiler]] = {
    "cut": cut, "greedy": greedy, "unstopped": partial(without, "stop"), "usage": Usage,
    "constant": constant, "memoised": Spoiler, "wrong-token": WrongToken, "buffered": Spoiler, "overloaded": Spoiler,
    "copied": Copied, "seedless": partial(without, "seed"), "unbiased": partial(without, "logit_bias"),
    "shortened": Shortened, "fabricated": Fabricated, "passed-on": Spoiler, "paired": Spoiler, "queued": Spoiler,
}  # fmt: skip


def paired(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream with every second event of a choice joined to the one before it."""
    held: Body | None = None
    for line in lines:
        event: Body | None = json.loads(line[6:]) if line.startswith(b"data: {") else None
        if held is not None and event is not None and _joined(held, event):
            event, held = held, None
        elif event is not None and held is None and _may_wait(event):
            held = event
            continue
        elif line.strip() and held is not None:
            yield b"data: " + json.dumps(held).encode() + b"\n\n"
            held = None
        yield line if event is None else b"data: " + json.dumps(event).encode() + b"\n"


def _may_wait(event: Body) -> bool:
    choices = event.get("choices", [])
    plain = len(choices) == 1 and "text" in choices[0]
    return plain and bool(choices[0].get("token_ids")) and choices[0]["finish_reason"] is None


def _joined(first: Body, second: Body) -> bool:
    """Whether the second event could be added to the first: one choice each, the same."""
    if len(second.get("choices", [])) != 1 or first["choices"][0]["index"] != second["choices"][0]["index"]:
        return False
    one, other = first["choices"][0], second["choices"][0]
    one.update(text=one["text"] + other["text"], finish_reason=other["finish_reason"])
    one["token_ids"] = [*one["token_ids"], *(other.get("token_ids") or [])]
    for part in one["logprobs"] or {}:
        one["logprobs"][part] = [*one["logprobs"][part], *other["logprobs"][part]]
    return True
