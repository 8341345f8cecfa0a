"""Traces, conversations and sessions from the command line, against a real server that tells what it saw."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from load_calls import called, told
from servers.stub import running_stub

from pytest_vibeserve.traces import read_arrivals


def seen(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/log", timeout=30) as answer:
        log: dict[str, Any] = json.loads(answer.read())
    return log


ROWS = (
    {"timestamp": 1000, "input_length": 700, "output_length": 3, "hash_ids": [5, 6]},
    {"timestamp": 1200, "input_length": 40, "output_length": 2, "hash_ids": [7]},
    {"timestamp": 1400, "input_length": 600, "output_length": 4, "hash_ids": [5, 8]},
    {"timestamp": 1600, "input_length": 9, "output_length": 1, "hash_ids": []},
)


def written(path: Path, rows: Sequence[object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_trace_is_replayed_and_saved_as_it_was_sent(tmp_path: Path) -> None:
    trace, saved = written(tmp_path / "trace.jsonl", ROWS), tmp_path / "saved.jsonl"
    with running_stub() as (_, port):
        (level,) = told(f"http://127.0.0.1:{port}", "--trace", trace, "--speedup", "2", "--save-trace", str(saved))
        bodies = [json.loads(body) for body in seen(port)["bodies"]]
    assert (level["trace"], level["issued"], level["failed"]) == ({"replayed": 4, "total": 4}, 4, 0)
    assert [len(body["prompt"].split()) for body in bodies] == [700, 40, 600, 9]
    assert [body["max_tokens"] for body in bodies] == [3, 2, 4, 1]
    one, other = bodies[0]["prompt"].split(), bodies[2]["prompt"].split()
    assert one[:512] == other[:512]
    assert one[512:600] != other[512:600]
    again = read_arrivals(saved)
    recorded = read_arrivals(Path(trace))
    kept = [(one.input_tokens, one.output_tokens, one.blocks) for one in recorded]
    assert [(one.input_tokens, one.output_tokens, one.blocks) for one in again] == kept
    assert again[0].at_s == 0
    assert again[-1].at_s >= 0.29, "half as long as it was recorded"


def test_only_so_many_of_a_trace_are_replayed_under_a_cap(tmp_path: Path) -> None:
    trace = written(tmp_path / "trace.jsonl", [{**row, "timestamp": 0} for row in ROWS])
    with running_stub("--ttft", "0.2") as (_, port):
        (level,) = told(f"http://127.0.0.1:{port}", "--trace", trace, "--requests", "3", "--most-in-flight", "1")
        assert seen(port)["most_waiting"] == 1
    assert level["trace"] == {"replayed": 3, "total": 4}
    assert level["queueing"]["p99"] >= 200


TALK = [
    {"from": "human", "value": "What is \"it\"?"}, {"from": "gpt", "value": "a" * 40},
    {"from": "human", "value": "@text:0"}, {"from": "gpt", "value": "b"},
    {"from": "human", "value": "And then?"}, {"from": "gpt", "value": "c" * 9},
]  # fmt: skip


def test_conversations_are_led_with_the_answers_that_the_server_gives(tmp_path: Path) -> None:
    talk = written(
        tmp_path / "talk.jsonl", [{"id": "x", "conversations": TALK}, {"id": "y", "conversations": TALK[:2]}]
    )
    saved = tmp_path / "saved.jsonl"
    with running_stub("--itl", "0") as (_, port):
        words = ("--trace", talk, "--chat", "--concurrency", "1", "--save-trace", str(saved))
        (level,) = told(f"http://127.0.0.1:{port}/api/v1/", *words)
        log = seen(port)
    assert (level["issued"], level["failed"], level["saved"]) == (4, 0, 4)
    assert all(head.startswith("POST /api/v1/chat/completions ") for head in log["requests"])
    bodies = [json.loads(body) for body in log["bodies"]]
    assert [body["max_tokens"] for body in bodies] == [10, 1, 3, 10]
    assert [(said["role"], said["content"]) for said in bodies[2]["messages"]] == [
        ("user", 'What is "it"?'), ("assistant", " a" * 10), ("user", " @text:0"), ("assistant", " a"),
        ("user", "And then?"),
    ]  # fmt: skip
    lengths = [arrival.input_tokens for arrival in read_arrivals(saved)]
    assert lengths[0] < lengths[1] < lengths[2]


def test_turns_follow_one_another_in_sessions() -> None:
    with running_stub("--itl", "0") as (_, port):
        words = ("--turns", "3", "3", "--think", "10 ms", "--requests", "7", "--tokens", "2", "--chat")
        (level,) = told(f"http://127.0.0.1:{port}", "--concurrency", "2", *words)
        bodies = [json.loads(body) for body in seen(port)["bodies"]]
    assert (level["issued"], level["failed"]) == (7, 0)
    assert sorted(len(body["messages"]) for body in bodies) == [1, 1, 1, 3, 3, 5, 5]


@pytest.mark.parametrize(
    ("row", "words", "message"),
    [
        (ROWS[0], ("--concurrency", "2"), "--concurrency does nothing here: the trace says when requests leave"),
        (ROWS[0], ("--tokens", "2"), "--tokens does nothing here"),
        (ROWS[0], ("--speedup", "nan"), "speed-up of a trace must be above 0 and finite"),
        ({"conversations": TALK}, ("--chat",), "conversations need --concurrency"),
        ({"conversations": TALK}, ("--concurrency", "2"), "conversations are chats: add --chat"),
        ({"conversations": TALK}, ("--concurrency", "2", "--speedup", "2"), "--speedup does nothing here"),
        ({"timestamp": 5}, (), "line 1: input_length is missing"),
    ],
)
def test_a_trace_takes_the_options_of_its_shape(
    tmp_path: Path, row: object, words: tuple[str, ...], message: str
) -> None:
    done = called("http://127.0.0.1:1", "--trace", written(tmp_path / "trace.jsonl", [row]), *words)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert message in done.stderr
