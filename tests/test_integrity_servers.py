"""The checks of a load on real servers: honest ones break none, each way of playing to the test breaks its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from starter_edits import edited

from pytest_vibeserve.bench import Bench, Contract
from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.ceiling import cost
from pytest_vibeserve.integrity import Run, dense_work, settled_cpu_s, traffic_checks
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.modalities import wire_of
from pytest_vibeserve.modalities.text import TextWire
from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.report import Check
from pytest_vibeserve.server import Launch, Server
from pytest_vibeserve.target import load_target
from pytest_vibeserve.workload import Secret, Vocabulary, Workload

STARTER = Path(__file__).resolve().parents[1] / "targets" / "tiny_llama" / "starter"
C1, C4 = Load(name="c1", concurrency=1), Load(name="c4", concurrency=4)
GENERATE = "        prompt = torch.tensor([sequence.tokens])\n"
LOOP = "        while not answer.complete:\n"
WRITE = "                await response.write(frame)\n"
DONE = "                self._cancelled.discard(request.id)\n"


@contextmanager
def served(candidate: Path, profile: str, log: Path) -> Iterator[Bench]:
    """A bench with a candidate that serves a profile's model."""
    target = load_target("tiny_llama", profile)
    model = model_folder(target)
    launch = Launch(startup_s=60, memory_gib=4, log=log)
    server = Server.start(load_candidate(candidate), model, launch=launch)
    words = Vocabulary(model)
    contract = Contract(target, model, words, Secret(), TextWire(target, words), "quick", 1e12, wire_of)
    with server, closing(Bench(contract, server, lambda record: None)) as bench:
        yield bench


def checked(bench: Bench, load: Load, count: int, tokens: int = 0) -> dict[str, Check]:
    """The checks of three blocks of so many requests, every second of them longer where `tokens` says how long."""
    drawn = Workload(bench.target, bench.vocabulary, bench.draws("load"))
    blocks = []
    start = bench.server.cpu_seconds()
    for _ in range(3):
        requests = [
            replace(request, stream=True, temperature=0.0, max_tokens=tokens or request.max_tokens)
            for request in islice(drawn.requests(), count)
        ]
        traffic = bench.send_closed(requests, load.concurrency)
        blocks.append(Block(tuple(bench.answers(requests, traffic)), traffic.wall_s))
    end = bench.server.cpu_seconds()
    used = None if start is None or end is None else end - start
    after = settled_cpu_s(bench.server.cpu_seconds)
    work = dense_work(bench.contract.model, cost(bench.contract.model).operations_per_token)
    return {check.name: check for check in traffic_checks(Run(load, tuple(blocks), used, after, work), bench.target)}


@pytest.mark.parametrize(("load", "count"), [(C1, 4), (C4, 12)], ids=["c1", "c4"])
def test_the_starter_breaks_nothing(load: Load, count: int, tmp_path: Path) -> None:
    edited(STARTER, tmp_path / "starter")
    with served(tmp_path / "starter", "full", tmp_path / "log") as bench:
        found = checked(bench, load, count, tokens=8)
    assert {name: check.detail for name, check in found.items() if check.result == "fail"} == {}
    assert {name for name, check in found.items() if check.result == "pass" and name.startswith("physics.")} == {
        "physics.cpu-seconds", "physics.throughput", "physics.first-token", "physics.after-work",
    }  # fmt: skip


def test_answers_that_no_model_computed_took_too_little_work(tmp_path: Path) -> None:
    canned = """        for _ in range(sequence.request.max_tokens):
            self._deliver([sequence.accept(7)])
        return
"""
    edited(STARTER, tmp_path / "canned", ("generation.py", GENERATE, canned))
    with served(tmp_path / "canned", "full", tmp_path / "log") as bench:
        found = checked(bench, C1, 24, tokens=8)
    failed = {name for name, check in found.items() if check.result == "fail"}
    assert failed & {"physics.cpu-seconds", "physics.first-token"}


CHEATS = {
    "service.fairness": (
        ("generation.py", "queue.SimpleQueue()", "queue.LifoQueue()"),
    ),
    "stream.bursts": (
        ("server.py", LOOP, '        held, seen = b"", 0\n' + LOOP),
        ("server.py", WRITE, """                held, seen = held + frame, seen + 1
                if seen >= 8:
                    await response.write(held)
                    held = b""
"""),
        ("server.py", "        await response.write(answer.closing())\n",
         "        await response.write(held + answer.closing())\n"),
    ),
    "physics.after-work": (
        ("generation.py", DONE, DONE + """                until = time.monotonic() + 2
                while self._waiting.empty() and time.monotonic() < until:
                    sum(range(1000))
"""),
        ("generation.py", "import threading\n", "import threading\nimport time\n"),
    ),
    "stream.first-token": (
        ("server.py", LOOP, """        await response.write(
            b'data: {"choices": [{"index": 0, "text": " ", "logprobs": null, "finish_reason": null}]}\\n\\n'
        )
""" + LOOP),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_a_server_that_plays_to_the_test_is_found_by_name(name: str, tmp_path: Path) -> None:
    edited(STARTER, tmp_path / "cheat", *CHEATS[name])
    # Where a step takes a moment of its own, a group of them cannot have come together by accident.
    profile, count = ("full", 8) if name == "stream.bursts" else ("tiny", 40)
    with served(tmp_path / "cheat", profile, tmp_path / "log") as bench:
        found = checked(bench, C4, count, tokens=8)
    assert found[name].result == "fail", {name: check.detail for name, check in found.items()}
