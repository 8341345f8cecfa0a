"""A bench over a server that runs as a process: a program beside this file, or a member of a target's zoo."""

from __future__ import annotations

import http.client
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pytest_vibeserve.completions import Answer, answer, exchange
from pytest_vibeserve.errors import ContractBroken
from pytest_vibeserve.external import ExternalServer
from pytest_vibeserve.load_generator import Exchange, LoadGenerator, Reply
from pytest_vibeserve.modalities import Judging, judge_of
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.workload import Request, Secret, Vocabulary
from vibeserve_loop.validation.own_faults import ZOO, made, read_zoo

SERVERS = Path(__file__).resolve().parent / "servers"
STARTUP_S = 60.0


class Wired:
    """What a judge needs, at quick depth unless told otherwise; a server that `keeps` weights ignores others."""

    def __init__(self, target: Target, vocabulary: Vocabulary, port: int, command: tuple[str, str]) -> None:
        self.target, self.vocabulary, self._command = target, vocabulary, command
        self.depth: Literal["quick", "full"] = "quick"
        self.keeps: Path | None = None
        self.server = ExternalServer(f"http://127.0.0.1:{port}")
        self.checks: list[Check] = []
        self._secret, self._purposes = Secret(" ".join(command)), dict[str, int]()
        self._generator = LoadGenerator("127.0.0.1", port)

    def __enter__(self) -> Wired:
        self._generator.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._generator.close()

    def draws(self, purpose: str) -> random.Random:
        count = self._purposes[purpose] = self._purposes.get(purpose, 0) + 1
        return self._secret.stream(f"{purpose}/{count}")

    def ask(self, requests: Sequence[Request], concurrency: int = 1) -> list[Answer]:
        replies = self.exchange([exchange(request, 60.0) for request in requests], concurrency)
        return [answer(request, reply, self.vocabulary) for request, reply in zip(requests, replies, strict=True)]

    def exchange(self, exchanges: Sequence[Exchange], concurrency: int = 1) -> list[Reply]:
        replies = {reply.id: reply for reply in self._generator.closed(list(exchanges), concurrency).replies}
        return [replies[item.id] for item in exchanges]

    @contextmanager
    def relaunched(self, model: Path) -> Iterator[Wired]:
        program, kind = self._command
        with (
            served(program, self.keeps or model, kind) as port,
            Wired(self.target, self.vocabulary, port, self._command) as bench,
        ):
            yield bench

    def record(self, record: Check) -> None:
        self.checks.append(record)

    def failed(self) -> set[str]:
        return {check.name for check in self.checks if check.result == "fail"}


@contextmanager
def served(program: str, model: Path, kind: str) -> Iterator[int]:
    """The port of a server of that kind, killed in the end; `program` may be a target, `kind` one of its zoo then."""
    if not (SERVERS / program).is_file():
        with TemporaryDirectory() as place:
            yield from _candidate(member(program, kind, Path(place) / kind), model)
        return
    command = [sys.executable, str(SERVERS / program), str(model), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def member(target: str, name: str, into: Path) -> Path:
    """The folder of a member of a target's zoo; `honest` is its starter."""
    starter = load_target(target, "tiny").starter_folder
    stated = {one.name: one for one in read_zoo(starter.parent / ZOO)}
    return starter if name == "honest" else made(stated[name], starter, into).folder


def _candidate(folder: Path, model: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "server.py", "--model", str(model), "--port", str(port)]
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            deadline = time.monotonic() + STARTUP_S
            while time.monotonic() < deadline and process.poll() is None and not _answers(port):
                time.sleep(0.05)
            yield port
        finally:
            process.kill()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except ConnectionError:
        return False
    finally:
        connection.close()


@contextmanager
def judged(
    program: str, model: Path, kind: str, target: Target, vocabulary: Vocabulary
) -> Iterator[tuple[Wired, Judging]]:
    """A server of that kind with its bench and its Judge."""
    with served(program, model, kind) as port, Wired(target, vocabulary, port, (program, kind)) as bench:
        yield bench, judge_of(bench, model)


def refused_by(bench: Wired, *judgements: object) -> set[str]:
    """The checks that failed when the judgements were made, in turn, until one broke the contract."""
    for judgement in judgements:
        assert callable(judgement)
        try:
            judgement()
        except ContractBroken:
            return bench.failed()
    return set()
