"""Blocks of load against served starters: sessions and traces are the target's own requests, and stay so reworded."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from servers.stub import running_stub

from pytest_vibeserve.bench import Bench, Contract, Record
from pytest_vibeserve.blocks import Runner
from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.drafts import Draft
from pytest_vibeserve.errors import Inconclusive, InfrastructureError
from pytest_vibeserve.external import ExternalServer
from pytest_vibeserve.integrity import Run, traffic_checks
from pytest_vibeserve.load_generator import Exchange
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.modalities import judge_of, wire_of
from pytest_vibeserve.modalities.text import TextWire
from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.report import Check
from pytest_vibeserve.server import Launch, Server
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.workload import Secret, Vocabulary

SESSIONS = Load(name="talk", arrival="sessions", concurrency=2, turns=(3, 3))
TRACE = Load(name="trace", arrival="trace", trace="trace.jsonl", speedup=2.0, quick_s=3.15)
ROWS = [
    {"timestamp": 400 * number, "input_length": 40 + number, "output_length": 3 + number % 4, "hash_ids": [number % 2]}
    for number in range(14)
]


def with_trace(target: Target, folder: Path) -> Target:
    """The target from a copy of its folder that holds a trace."""
    shutil.copytree(target.folder, folder, dirs_exist_ok=True)
    (folder / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return target.model_copy(update={"folder": folder})


@contextmanager
def served(name: str, folder: Path, records: list[Check]) -> Iterator[Bench]:
    """A bench with the starter of a target, in the tiny profile."""
    target = with_trace(load_target(name, "tiny"), folder / name)
    model = model_folder(target)
    launch = Launch(startup_s=120, memory_gib=4, log=folder / "log")
    server = Server.start(load_candidate(load_target(name, "tiny").starter_folder), model, launch=launch)
    words = Vocabulary(model)
    contract = Contract(target, model, words, Secret("blocks"), wire_of(target, words, model), "quick", 1e12, wire_of)

    def keep(record: Record) -> None:
        if isinstance(record, Check):
            records.append(record)

    with server, closing(Bench(contract, server, keep)) as bench:
        yield bench


def lengths(draft: Draft) -> list[int]:
    return [len(request.prompt_ids) for request in draft.requests]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama_mlx_json", "qwen3_32b_code_edit", "llama_3_8b", "tiny_llama"])
def test_an_honest_starter_answers_every_turn_and_every_request_of_a_trace(name: str, tmp_path: Path) -> None:
    records: list[Check] = []
    with served(name, tmp_path, records) as bench:
        talk(bench)
        replay(bench)
    assert [check.detail for check in records if check.result == "fail"] == []
    assert any(check.name.endswith(".request") for check in records), "what was answered was audited"


def measured(bench: Bench, load: Load) -> tuple[list[Draft], list[Block]]:
    """A draft and the same in other words, and what became of both; everything is audited."""
    runner = Runner(bench, load)
    first = runner.draft(7)
    drafts = [first, runner.reworded(first)]
    blocks = [patiently(runner, draft) for draft in drafts]
    answers = [answer for block in blocks for answer in block.answers]
    assert [answer.fault for answer in answers if answer.fault] == []
    judge_of(bench, bench.contract.model).examine(answers)
    one, other = ({answer.request.prompt_ids for answer in block.answers} for block in blocks)
    assert one.isdisjoint(other)
    return drafts, blocks


def patiently(runner: Runner, draft: Draft) -> Block:
    """A block; again where the machine was too busy to measure."""
    for _ in range(5):
        try:
            return runner.block(draft)
        except InfrastructureError as busy:
            told = busy
    raise told


def talk(bench: Bench) -> None:
    drafts, blocks = measured(bench, SESSIONS)
    for draft, block in zip(drafts, blocks, strict=True):
        assert sum(draft.turns) == 7
        assert max(draft.turns) == 3
        alone = {one.id: len(one.prompt_ids) for one in draft.requests}
        assert sum(len(one.request.prompt_ids) > alone[one.request.id] for one in block.answers) == 7 - len(draft.turns)


def replay(bench: Bench) -> None:
    drafts, blocks = measured(bench, TRACE)
    assert [draft.window for draft in drafts] == [drafts[0].window] * 2
    for block in blocks:
        assert [one.request.max_tokens for one in block.answers] == [3, 4, 5, 6, 3, 4]
        assert all(20 < len(one.request.prompt_ids) <= 40 + number for number, one in enumerate(block.answers))
    found = {check.name: check for check in traffic_checks(Run(TRACE, tuple(blocks)), bench.target)}
    assert found["service.replayed"].statistic == 6


@pytest.fixture
def stubbed(tiny: Target, vocabulary: Vocabulary, tmp_path: Path) -> Iterator[Bench]:
    """A bench over a server that answers nothing for half a minute, in a gate that has one second left."""
    target = with_trace(tiny, tmp_path / "target")
    with running_stub("--ttft", "30") as (_, port), ExternalServer(f"http://127.0.0.1:{port}") as server:
        wire = TextWire(target, vocabulary)
        deadline = time.monotonic() + 1
        contract = Contract(target, vocabulary.model, vocabulary, Secret("s"), wire, "quick", deadline, wire_of)
        with closing(Bench(contract, server, lambda record: None)) as bench:
            yield bench


def test_successive_blocks_replay_successive_windows_of_a_trace_and_begin_again(stubbed: Bench) -> None:
    runner = Runner(stubbed, TRACE)
    drafts = [runner.draft() for _ in range(5)]
    places = [(draft.window.first, len(draft.requests)) for draft in drafts if draft.window]
    assert places == [(0, 6), (6, 6), (12, 2), (0, 6), (6, 6)]
    assert lengths(drafts[1]) == [46, 47, 48, 49, 50, 51]
    assert lengths(drafts[0]) == lengths(drafts[3])
    assert drafts[0].arrivals == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    again = runner.reworded(drafts[1])
    assert (again.window, lengths(again)) == (drafts[1].window, lengths(drafts[1]))
    assert {one.prompt_ids for one in again.requests}.isdisjoint(one.prompt_ids for one in drafts[1].requests)
    assert again.requests[0].prompt_ids[:46] == again.requests[2].prompt_ids[:46]


def test_what_was_replayed_of_a_trace_counts_each_window_once(stubbed: Bench) -> None:
    runner = Runner(stubbed, TRACE)
    blocks = [Block((), 1.0, True, window=runner.draft().window) for _ in range(5)]
    checks = {check.name: check for check in traffic_checks(Run(TRACE, tuple(blocks[:2])), stubbed.target)}
    assert checks["service.replayed"].detail == (
        "trace: 12 of 14 requests of trace.jsonl were replayed, in 2 windows, 2 times as fast"
    )
    checks = {check.name: check for check in traffic_checks(Run(TRACE, tuple(blocks)), stubbed.target)}
    assert (checks["service.replayed"].statistic, checks["service.replayed"].threshold) == (14, 14)


def test_what_the_gates_own_time_cut_off_is_no_failure_of_the_candidates(stubbed: Bench) -> None:
    with pytest.raises(Inconclusive, match=r"limits\.wall_s are spent"):
        stubbed.send_closed(stubbed.fresh("load", 4), 2)
    with pytest.raises(Inconclusive, match=r"limits\.wall_s are spent"):
        stubbed.send_on_schedule(stubbed.fresh("load", 1), [0.0])


def test_a_request_that_failed_by_itself_is_still_a_failure_when_the_time_is_over(stubbed: Bench) -> None:
    hangs = Exchange(0, "GET", "/never", timeout_s=0.2)
    waits = Exchange(1, "GET", "/never", timeout_s=20)
    replies = stubbed.send([hangs, waits], 1).replies
    assert [reply.was_stopped for reply in replies] == [False, True]
