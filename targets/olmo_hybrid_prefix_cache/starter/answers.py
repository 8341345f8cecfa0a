"""The answer side of the OpenAI completions protocol: events of a request into JSON."""

import json
import time
from collections.abc import Iterable
from typing import Any

from protocol import Request
from sequence import Event, merge
from text import Vocabulary

DONE = b"data: [DONE]\n\n"


class Answer:
    """Writes the answer to one request, whole or as server-sent events."""

    def __init__(self, request: Request, model: str, vocabulary: Vocabulary) -> None:
        """Begin the answer to `request` by the model of that name."""
        self._request = request
        self._vocabulary = vocabulary
        self._head = {"id": request.id, "object": "text_completion", "created": int(time.time()), "model": model}
        self._unfinished = len(request.prompts) * request.n
        self._generated = 0
        self._prompts_shown: set[int] = set()

    @property
    def complete(self) -> bool:
        """Whether every choice has ended."""
        return self._unfinished == 0

    def frame(self, event: Event) -> bytes:
        """Return the server-sent event that shows `event`; empty when it has nothing to show yet."""
        self._count(event)
        if not (event.text or event.finish_reason or self._request.return_token_ids or event.logprobs):
            return b""
        chunk = self._head | {"choices": [self._choice(event)]}
        if self._request.include_usage:
            chunk["usage"] = None
        if self._request.return_token_ids and not self._prompts_shown:
            chunk |= self._prompt_token_ids()
        self._prompts_shown.add(event.index)
        return _frame(chunk)

    def closing(self) -> bytes:
        """Return the last frames of a stream: usage when it was asked for, and the end mark."""
        if not self._request.include_usage:
            return DONE
        return _frame(self._head | {"choices": [], "usage": self._usage()}) + DONE

    def whole(self, events: Iterable[Event]) -> bytes:
        """Return the JSON of a complete answer."""
        grouped: dict[int, list[Event]] = {}
        for event in events:
            self._count(event)
            grouped.setdefault(event.index, []).append(event)
        choices = [self._choice(merge(grouped[index])) for index in sorted(grouped)]
        answer = self._head | {"choices": choices, "usage": self._usage()}
        if self._request.return_token_ids:
            answer |= self._prompt_token_ids()
        return json.dumps(answer).encode()

    def _count(self, event: Event) -> None:
        self._generated += len(event.token_ids)
        self._unfinished -= event.finish_reason is not None

    def _choice(self, event: Event) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": event.index,
            "text": event.text,
            "logprobs": None if self._request.logprobs is None else self._logprobs(event),
            "finish_reason": event.finish_reason,
        }
        if self._request.return_token_ids:
            choice["token_ids"] = event.token_ids
            if len(self._request.prompts) > 1 and event.index not in self._prompts_shown:
                choice["prompt_token_ids"] = self._request.prompts[event.index // self._request.n]
        return choice

    def _logprobs(self, event: Event) -> dict[str, Any]:
        """Return the logprobs object; of tokens that are spelt alike the most likely keeps the key."""
        top: list[dict[str, float]] = []
        for one in event.logprobs:
            spelt: dict[str, float] = {}
            for token, logprob in (*one.top, (one.token, one.logprob)):
                spelt.setdefault(self._spell(token), logprob)
            top.append(spelt)
        return {
            "tokens": [self._spell(one.token) for one in event.logprobs],
            "token_logprobs": [one.logprob for one in event.logprobs],
            "top_logprobs": top,
            "text_offset": event.offsets,
        }

    def _spell(self, token: int) -> str:
        return f"token_id:{token}" if self._request.tokens_as_ids else self._vocabulary.spell(token)

    def _prompt_token_ids(self) -> dict[str, Any]:
        """Return the field with the ids of the prompt; of several prompts each choice carries its own."""
        prompts = self._request.prompts
        return {"prompt_token_ids": prompts[0]} if len(prompts) == 1 else {}

    def _usage(self) -> dict[str, int]:
        prompt = sum(map(len, self._request.prompts))
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._generated,
            "total_tokens": prompt + self._generated,
        }


def _frame(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
