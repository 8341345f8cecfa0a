"""Traces in the public shapes: read, written, fitted to a target, and what a broken line is answered with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.traces import (
    Arrival,
    Conversation,
    Turn,
    read_arrivals,
    read_conversations,
    read_trace,
    write_arrivals,
    write_conversations,
)

GOOD = {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_trace_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    found = read_arrivals(lines(tmp_path / "trace.jsonl", GOOD, "", {**GOOD, "timestamp": 0.5, "hash_ids": []}))
    assert found == (Arrival(0.0005, 6955, 52), Arrival(27.482, 6955, 52, (46, 47)))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 4000), st.integers(1, 999)), min_size=1, max_size=9))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    written = sorted((Arrival(ms / 1000, a, b, tuple(range(-(-a // 512)))) for ms, a, b in rows), key=lambda a: a.at_s)
    write_arrivals(written, path)
    assert list(read_arrivals(path)) == written


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"timestamp": 1, ', "line 2: not JSON"),
        ("[1, 2]", "line 2: not an object"),
        ({**GOOD, "timestamp": "soon"}, "line 2: timestamp must be a number, not 'soon'"),
        ({**GOOD, "timestamp": -5}, "line 2: timestamp must be at least 0"),
        ({**GOOD, "input_length": 0}, "line 2: input_length must be at least 1"),
        ({**GOOD, "input_length": 1.5}, "line 2: input_length must be a whole number, not 1.5"),
        ({**GOOD, "output_length": True}, "line 2: output_length must be a whole number"),
        ({"timestamp": 1, "input_length": 3}, "line 2: output_length is missing"),
        ({**GOOD, "hash_ids": "46"}, "line 2: hash_ids must be a list"),
        ({**GOOD, "input_length": 512}, "line 2: hash_ids names 2 blocks of 512, input_length is 512"),
        ({**GOOD, "hash_ids": [[]]}, "line 2: hash_ids must be a list"),
        ('{"timestamp": 1, "input_length": %s}' % ("9" * 5000), "line 2: input_length must be a whole number, not inf"),
        ('{"timestamp": %s}' % ("9" * 5000), "line 2: timestamp must be at least 0 and finite, not inf"),
        (
            '{"timestamp": NaN, "input_length": 3, "output_length": 3}',
            "line 2: timestamp must be at least 0 and finite",
        ),
    ],
)
def test_a_broken_line_is_named_with_its_field(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_arrivals(lines(tmp_path / "trace.jsonl", GOOD, row))


def test_files_that_are_no_trace_say_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no trace at"):
        read_arrivals(tmp_path / "missing.jsonl")
    with pytest.raises(UsageError, match=r"cannot be read .*; give the path of a JSONL file"):
        read_arrivals(tmp_path)
    with pytest.raises(UsageError, match="holds no request"):
        read_arrivals(lines(tmp_path / "empty.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(json.dumps(GOOD).encode() + b"\n\xff\n")
    with pytest.raises(UsageError, match="line 2: not UTF-8"):
        read_arrivals(tmp_path / "latin.jsonl")
    for opening in ('{"timestamp": ', "["):
        (tmp_path / "deep.jsonl").write_text(opening + "[" * 200_000)
        with pytest.raises(UsageError, match="nested too deeply"):
            read_arrivals(tmp_path / "deep.jsonl")


def test_conversations_are_read_from_lines_and_from_one_array_and_written_back(tmp_path: Path) -> None:
    said = [
        {"from": "gpt", "value": "Welcome"}, {"from": "human", "value": "Hé"}, {"from": "gpt", "value": "Hi"},
        {"from": "system", "value": "be brief"}, {"from": "human", "value": "And?"},
    ]  # fmt: skip
    rows = [{"id": "a", "conversations": said}, {"id": "b", "conversations": said[:1]}]
    expected = (Conversation("a", (Turn("Hé", "Hi"),)),)
    (tmp_path / "array.json").write_text(json.dumps(rows, indent=1))
    assert read_conversations(tmp_path / "array.json") == expected
    assert read_conversations(lines(tmp_path / "lines.jsonl", *rows)) == expected
    write_conversations(expected, tmp_path / "again.jsonl")
    assert read_conversations(tmp_path / "again.jsonl") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"}', "line 1: conversations must be a list"),
        ('{"conversations": [{"value": "x"}]}', r"line 1: conversations\[1\].from is missing"),
        ('{"conversations": [{"from": "human", "value": 3}]}', r"line 1: conversations\[1\].value must be a text"),
        ('[{"conversations": []}, 4]', "entry 2: not an object"),
        ('[{"conversations": []},\n{]', "line 2: not JSON"),
        ("[]", "holds no conversation"),
    ],
)
def test_a_broken_conversation_is_named_with_its_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "talk.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_conversations(tmp_path / "talk.json")


def test_a_request_that_a_context_cannot_hold_is_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "trace.jsonl", GOOD, {**GOOD, "output_length": 53})
    assert len(read_arrivals(path, 7008)) == 2
    with pytest.raises(
        UsageError, match=r"line 2: input_length and output_length are 7008, but limits\.context is 7007"
    ):
        read_arrivals(path, 7007)


def test_the_shape_of_a_trace_is_seen_from_its_first_object(tmp_path: Path) -> None:
    talk = {"id": "a", "conversations": [{"from": "human", "value": "Hé"}, {"from": "gpt", "value": "Hi"}]}
    assert read_trace(lines(tmp_path / "trace.jsonl", GOOD)) == read_arrivals(tmp_path / "trace.jsonl")
    assert read_trace(lines(tmp_path / "talk.jsonl", talk)) == (Conversation("a", (Turn("Hé", "Hi"),)),)
    with pytest.raises(UsageError, match="holds no request"):
        read_trace(lines(tmp_path / "empty.jsonl"))
