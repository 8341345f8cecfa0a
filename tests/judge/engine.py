"""A server inside the test's own process: real weights, any variant of the arithmetic, and faults to order."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pytest_vibeserve.completions import Answer, answer, exchange
from pytest_vibeserve.isolation.network import ask as ask_health
from pytest_vibeserve.judge import Judge
from pytest_vibeserve.judge.evidence import logprobs_at
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.reference import Context, Logits, Reference
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import Variant
from pytest_vibeserve.workload import Request, Secret, Vocabulary

HONEST = Variant("bfloat16 sdpa", "bfloat16")
Body = dict[str, Any]


@dataclass
class Faults:
    """Where the server departs from an honest one; the defaults depart nowhere."""

    variant: Callable[[Body], Variant] = lambda body: HONEST
    asked: Callable[[Body], Body] = lambda body: body
    choose: Callable[[int, random.Random], int] = lambda token, draws: token
    served: Callable[[Body, Body], Body] = lambda body, reply: reply
    refuse: bool = True
    follows: bool = True
    keeps_words: bool = False


@dataclass
class Sequence_:
    """One choice in the making."""

    body: Body
    prompt: list[int]
    draws: np.random.Generator
    index: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[tuple[float, list[tuple[int, float]]]] = field(default_factory=list)
    reason: str = ""


class Engine:
    """A bench whose candidate is this process: bodies in, replies out, through the wire format of completions."""

    depth: Literal["quick", "full"] = "quick"

    def __init__(self, target: Target, reference: Reference, vocabulary: Vocabulary, seed: int = 0) -> None:
        self.target, self.vocabulary, self.faults = target, vocabulary, Faults()
        self.words = vocabulary
        self.checks: list[Check] = []
        self._reference, self._secret = reference, Secret(f"engine {seed}")
        self._purposes: dict[str, int] = {}
        self._served = 0

    def draws(self, purpose: str) -> random.Random:
        count = self._purposes[purpose] = self._purposes.get(purpose, 0) + 1
        return self._secret.stream(f"{purpose}/{count}")

    @contextmanager
    def relaunched(self, model: Path) -> Iterator[Engine]:
        relaunched = Engine(self.target, Reference(model, self.target), Vocabulary(model))
        relaunched.words = self.words if self.faults.keeps_words else relaunched.words
        yield relaunched if self.faults.follows else self

    def record(self, record: Check) -> None:
        self.checks.append(record)

    def ask(self, requests: Sequence[Request], concurrency: int = 1) -> list[Answer]:
        replies = self.exchange([exchange(request, 60.0) for request in requests], concurrency)
        return [answer(request, reply, self.vocabulary) for request, reply in zip(requests, replies, strict=True)]

    def exchange(self, exchanges: Sequence[Exchange], concurrency: int = 1) -> list[Reply]:
        found: dict[int, tuple[int, Any]] = {}
        bodies: dict[int, Body] = {}
        for item in exchanges:
            refusal = self._refusal(item)
            if refusal:
                found[item.id] = refusal
            else:
                bodies[item.id] = json.loads(item.body)
        found |= {key: (200, said) for key, said in self._complete(bodies).items()}
        return [_reply(item, *found[item.id]) for item in exchanges]

    def _refusal(self, item: Exchange) -> tuple[int, Any] | None:
        if item.method == "GET":
            known = item.path == "/v1/models"
            return (200, {"data": [{"id": "tiny"}]}) if known else _error(404, "no such route", "not_found")
        try:
            body = json.loads(item.body)
        except ValueError:
            return _error(400, "not JSON", "bad_json") if self.faults.refuse else _error(500, "crash", "crash")
        wrong = self.faults.refuse and (
            "prompt" not in body or isinstance(body["prompt"], int) or body["prompt"] == [-1]
            or not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1 or body["temperature"] < 0
            or body["top_p"] > 1 or body["n"] < 1 or body.get("model", "tiny") != "tiny"
        )  # fmt: skip
        if wrong:
            return _error(400, "a field is wrong", "invalid")
        longest = max(map(len, self._prompts(body)))
        if longest + body["max_tokens"] > self.target.limits.context:
            return _error(400, "too long", "context_length_exceeded")
        return None

    def _prompts(self, body: Body) -> list[list[int]]:
        prompt = body["prompt"]
        if isinstance(prompt, str):
            return [list(self.words.encode(prompt))]
        return [list(self.words.encode(one)) for one in prompt] if isinstance(prompt[0], str) else [prompt]

    def _complete(self, bodies: dict[int, Body]) -> dict[int, Any]:
        made: dict[int, list[Sequence_]] = {}
        for key, given in bodies.items():
            body = self.faults.asked(dict(given))
            self._served += 1
            made[key] = [
                Sequence_(body, prompt, np.random.default_rng([body.get("seed", 1000 + self._served), place, draw]), 0)
                for place, prompt in enumerate(self._prompts(body))
                for draw in range(body["n"])
            ]
            for index, sequence in enumerate(made[key]):
                sequence.index = index
        self._generate([sequence for several in made.values() for sequence in several])
        return {key: self._payloads(bodies[key], several) for key, several in made.items()}

    def _generate(self, sequences: Sequence[Sequence_]) -> None:
        wrong = random.Random(7)
        while live := [sequence for sequence in sequences if not sequence.reason]:
            for variant in {self.faults.variant(sequence.body) for sequence in live}:
                part = [sequence for sequence in live if self.faults.variant(sequence.body) == variant]
                # The context keeps the true prompt apart, since a variant may shift what was generated.
                contexts = [Context(tuple(one.prompt), (*one.ids, 0)) for one in part]
                for index, (logits,) in self._reference.walk(contexts, (variant,)):
                    self._step(part[index], logits[-1:], wrong)

    def _step(self, sequence: Sequence_, logits: Logits, wrong: random.Random) -> None:
        body = sequence.body
        token = self.faults.choose(_chosen(logits[0], body, sequence.draws), wrong)
        if body.get("logprobs") is not None:
            top = np.argsort(-logits[0])[: body["logprobs"]]
            ids = list(dict.fromkeys([*map(int, top), token]))
            values = logprobs_at(logits, np.array([ids]))[0]
            known = dict(zip(ids, map(float, values), strict=True))
            sequence.logprobs.append((known[token], list(known.items())))
        sequence.ids.append(token)
        text = self.words.decode(sequence.ids)
        if any(stop in text for stop in body.get("stop", ())) or (token == 1 and not body["ignore_eos"]):
            sequence.reason = "stop"
        elif len(sequence.ids) == body["max_tokens"]:
            sequence.reason = "length"

    def _payloads(self, body: Body, sequences: Sequence[Sequence_]) -> Any:
        whole = {
            "choices": [self._choice(sequence) for sequence in sequences],
            "usage": {
                "prompt_tokens": sum(len(one.prompt) for one in sequences[:: body["n"]]),
                "completion_tokens": sum(len(one.ids) for one in sequences),
            },
        }
        return self.faults.served(body, whole)

    def _choice(self, sequence: Sequence_) -> Body:
        body = sequence.body
        text = self.words.decode(sequence.ids)
        places = [text.find(stop) for stop in body.get("stop", ()) if stop in text]
        said: Body = {"index": sequence.index, "finish_reason": sequence.reason}
        said["text"] = text[: min(places)] if places else text
        if body.get("return_token_ids"):
            said |= {"token_ids": list(sequence.ids), "prompt_token_ids": list(sequence.prompt)}
        if body.get("logprobs") is not None:
            said["logprobs"] = {
                "token_logprobs": [chosen for chosen, _ in sequence.logprobs],
                "top_logprobs": [{f"token_id:{i}": v for i, v in top} for _, top in sequence.logprobs],
            }
        return said


@dataclass(frozen=True)
class Bound:
    """An engine, and the Judge that judges it."""

    engine: Engine
    judge: Judge

    def failed(self) -> set[str]:
        return {check.name for check in self.engine.checks if check.result == "fail"}


@contextmanager
def running(candidate: Path, model: Path) -> Iterator[str]:
    """A candidate started as it is, without isolation; the address that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "server.py", "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    # So small a model gains nothing from a second thread, and waits long for one on a busy machine.
    given = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=candidate, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while ask_health("127.0.0.1", port, "/health", 1.0) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _chosen(logits: Logits, body: Body, draws: np.random.Generator) -> int:
    scores = logits.astype(np.float64)
    for token, bias in body.get("logit_bias", {}).items():
        scores[int(token)] += bias
    if body["temperature"] == 0:
        return int(scores.argmax())
    order = np.argsort(-scores)
    weights = np.exp((scores[order] - scores[order[0]]) / body["temperature"])
    if body["top_k"] > 0:
        weights[body["top_k"] :] = 0
    before = np.cumsum(weights) - weights
    weights[before >= body["top_p"] * weights.sum()] = 0
    return int(draws.choice(order, p=weights / weights.sum()))


def _error(status: int, message: str, code: str) -> tuple[int, Body]:
    return status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _reply(item: Exchange, status: int, said: Any) -> Reply:
    raw = json.dumps(said).encode()
    if status == 200 and item.method == "POST" and json.loads(item.body).get("stream"):
        raw = b"data: " + raw + b"\n\ndata: [DONE]\n\n"
    return Reply(item.id, status, "", 0.0, 0.0, ((0.1, raw),), 0.1, ())
