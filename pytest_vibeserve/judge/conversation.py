"""One example of a property of the interface: draws its requests, sends them, and remembers what it heard."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import strategies as st

from pytest_vibeserve.completions import PATH, Answer, answer, body
from pytest_vibeserve.judge.agreement import breaches, described
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.workload import Request, Workload


class Breached(AssertionError):
    """A property does not hold; `example` is the request and what came back."""

    def __init__(self, message: str, example: str) -> None:
        """Keep the evidence apart from the sentence."""
        super().__init__(message)
        self.message, self.example = message, example


class Conversation:
    """Everything that the properties share.

    `heard` are greedy answers whose margins are audited at the end, `scored` those whose reported logprobs are.
    """

    path, route = PATH, "completions"

    def __init__(self, bench: Bench, auditor: Auditor, end_ids: frozenset[int]) -> None:
        """Bind to a server; prompts come from the gate's secret, shapes from hypothesis."""
        self.bench, self.auditor, self.end_ids = bench, auditor, end_ids
        self.heard: list[Answer] = []
        self.scored: list[Answer] = []
        self.draw: Any = None
        self._salt = bench.draws("interface").getrandbits(64)
        self._serial = 0

    def random(self) -> random.Random:
        """Random numbers that hypothesis can replay within this gate and nobody can foresee before it."""
        return random.Random(f"{self._salt}/{self.draw(st.integers(0, 2**32))}")

    def request(self, **given: Any) -> Request:
        """A fresh greedy request with a short prompt, spelt as text or as ids; `given` fields override."""
        workload = Workload(self.bench.target, self.bench.vocabulary, self.random())
        text, ids = workload.prompt(self.draw(st.integers(2, 24)))
        self._serial += 1
        base = Request(id=self._serial, prompt_ids=ids, prompt_text=text, max_tokens=4, stream=False, kind="interface")
        return replace(base, **given)

    def ask(self, *requests: Request, concurrency: int = 1) -> list[Answer]:
        """Whole answers that agree with themselves; anything else is a breach."""
        return self.checked(self.bench.ask(requests, concurrency))

    def checked(self, answers: Sequence[Answer]) -> list[Answer]:
        """The answers, each in agreement with itself; greedy ones are remembered for the audit."""
        for given in answers:
            for breach in breaches(given, self.bench.vocabulary, self.end_ids):
                raise Breached(breach.message, described(given))
            if given.request.temperature == 0 or given.request.top_k == 1:
                self.heard.append(given)
            if given.request.logprobs:
                self.scored.append(given)
        return list(answers)

    def filling(self, tokens: int) -> Request:
        """A greedy request that asks for all that its prompt leaves of the context: `tokens`, or a few more."""
        context, vocabulary = self.bench.target.limits.context, self.bench.vocabulary
        ids = (*vocabulary.prefix, *self.random().choices(vocabulary.spelt, k=context))
        return self.request(prompt_ids=ids[: context - tokens], prompt_text="", max_tokens=tokens)

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON body of a request."""
        return body(request)

    def read(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""
        return answer(request, reply, self.bench.vocabulary)

    def send(self, fields: dict[str, Any] | bytes, path: str = "", method: str = "POST") -> Reply:
        """The reply to a body that no Request can state."""
        return self.bench.exchange([self.exchange(fields, path, method)])[0]

    def exchange(self, fields: dict[str, Any] | bytes, path: str = "", method: str = "POST") -> Exchange:
        """An exchange with that body, on the conversation's own route where no other is given."""
        self._serial += 1
        raw = fields if isinstance(fields, bytes) else orjson.dumps(fields)
        limit = self.bench.target.limits.longest_wait_s
        return Exchange(id=self._serial, method=method, path=path or self.path, body=raw, timeout_s=limit)

    def spelt(self, request: Request, **fields: Any) -> Answer:
        """The answer to a request whose body is changed by `fields`."""
        return self.read(request, self.send({**self.body(request), **fields}))
