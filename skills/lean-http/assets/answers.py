"""The answer side of the OpenAI completions protocol: events of a request into JSON."""

import time
from collections.abc import Iterable
from typing import Any

import orjson

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
        # Every frame of a stream begins alike and ends alike: only the choice is written anew.
        self._before = b"data: " + orjson.dumps(self._head)[:-1] + b',"choices":['
        self._after = b'],"usage":null}\n\n' if request.include_usage else b"]}\n\n"

    @property
    def complete(self) -> bool:
        """Whether every choice has ended."""
        return self._unfinished == 0

    def note(self, event: Event) -> None:
        """Count an event that will be shown later, by `whole`."""
        self._generated += len(event.token_ids)
        self._unfinished -= event.finish_reason is not None

    def frame(self, event: Event) -> bytes:
        """Return the server-sent event that shows `event`; empty when it has nothing to show yet."""
        self.note(event)
        asked = self._request.return_token_ids
        if not (event.text or event.finish_reason or asked or event.logprobs):
            return b""
        choice = orjson.dumps(self._choice(event))
        after = self._after
        if asked and not self._prompts_shown and len(self._request.prompts) == 1:
            after = b'],"prompt_token_ids":' + orjson.dumps(self._request.prompts[0]) + after[1:]
        self._prompts_shown.add(event.index)
        return self._before + choice + after

    def closing(self) -> bytes:
        """Return the last frames of a stream: usage when it was asked for, and the end mark."""
        if not self._request.include_usage:
            return DONE
        return b"data: " + orjson.dumps(self._head | {"choices": [], "usage": self._usage()}) + b"\n\n" + DONE

    def whole(self, events: Iterable[Event]) -> bytes:
        """Return the JSON of a complete answer, whose events have been noted."""
        grouped: dict[int, list[Event]] = {}
        for event in events:
            grouped.setdefault(event.index, []).append(event)
        choices = [self._choice(merge(grouped[index])) for index in sorted(grouped)]
        answer = self._head | {"choices": choices, "usage": self._usage()}
        if self._request.return_token_ids and len(self._request.prompts) == 1:
            answer["prompt_token_ids"] = self._request.prompts[0]
        return orjson.dumps(answer)

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

    def _usage(self) -> dict[str, int]:
        prompt = sum(map(len, self._request.prompts))
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._generated,
            "total_tokens": prompt + self._generated,
        }
