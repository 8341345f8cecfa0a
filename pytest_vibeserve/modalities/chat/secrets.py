"""Secrets told to a server in one chat, to be looked for in the answers to the others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.modalities.chat.bench import ChatBench
from pytest_vibeserve.modalities.chat.requests import numbered
from pytest_vibeserve.modalities.chat.wire import ChatRequest
from pytest_vibeserve.modalities.conclusion import counted
from pytest_vibeserve.report import Check

CHATS = {"quick": 6, "full": 24}
DIGITS, WINDOW = 24, 8
"""Hexadecimal digits of a secret, and how many in a row chance does not bring into a stranger's answer."""


def secrets_told(bench: ChatBench, draws: random.Random) -> list[Answer]:
    """Answers to chats that each hold a secret of their own, all at the same time, then to as many without any."""
    workload = bench.wire.workload(draws)
    chats = []
    for _ in range(CHATS[bench.depth]):
        secret = f"{draws.getrandbits(4 * DIGITS):0{DIGITS}x}"
        chats.append(workload.chat(f"Remember {secret}. Say it.", max_tokens=DIGITS, kind="secret"))
    told = bench.ask(numbered(chats), bench.target.limits.concurrency)
    others = [
        replace(workload.chat("What was it?", max_tokens=DIGITS, kind="no secret"), id=i) for i in range(len(chats))
    ]
    return [*told, *bench.ask(others, bench.target.limits.concurrency)]


def leaked(answers: Sequence[Answer]) -> Check:
    """The check `sessions.leak`: no answer holds part of a secret that another chat was told."""
    secrets = {index: secret for index, answer in enumerate(answers) if (secret := _secret(answer))}
    found = [
        f"{answer.choices[0].text[:60]!r} holds part of a secret of another chat"
        for index, answer in enumerate(answers)
        for owner, secret in secrets.items()
        if owner != index and answer.choices and _within(secret, answer.choices[0].text)
    ]
    return counted("sessions.leak", found, len(answers), "answers tell nothing of other chats")


def _secret(answer: Answer) -> str:
    request = answer.request
    if not isinstance(request, ChatRequest) or request.kind != "secret":
        return ""
    return request.messages[-1].content.split()[1].rstrip(".")


def _within(secret: str, text: str) -> bool:
    return any(secret[place : place + WINDOW] in text for place in range(len(secret) - WINDOW + 1))
