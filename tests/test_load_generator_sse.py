"""The reader of event streams, fed bytes cut everywhere and streams that break the rules."""

from __future__ import annotations

import time

import pytest

from pytest_vibeserve.load_generator.sse import lines, payloads

DONE = b"data: [DONE]\n\n"
STREAM = b'data: {"a": "\xc3\xa9"}\r\n\r\n: a comment\nevent: x\ndata: {"b": 2}\n\n' + DONE


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_a_stream_says_the_same_wherever_it_is_cut(size: int) -> None:
    chunks = [(float(at), STREAM[at : at + size]) for at in range(0, len(STREAM), size)]
    assert [payload for _, payload in payloads(chunks)] == [{"a": "\u00e9"}, {"b": 2}]


def test_a_payload_came_when_its_line_was_whole() -> None:
    chunks = [(1.0, b'data: {"a"'), (2.0, b": 1}"), (3.0, b"\n\ndata: {}\n" + DONE)]
    assert [at_s for at_s, _ in payloads(chunks)] == [3.0, 3.0]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"data: {}\n\n", "ended without"),
        (b"", "ended without"),
        (b"data: [DONE]", "ended without"),
        (DONE + DONE, "an event after"),
        (DONE + b"data: {}\n\n", "an event after"),
        (b'data: {"error": {"message": "oom"}}\n\n' + DONE, "an error event: .*oom"),
        (b"data: [1]\n\n" + DONE, "is no object"),
        (b"data: {\n\n" + DONE, "."),
        (b'data: {"a": "\xc3"}\n\n' + DONE, "."),
        (b"data: " + b"[" * 200_000 + b"\n\n" + DONE, "."),
    ],
)
def test_a_stream_that_breaks_the_rules_is_no_answer(stream: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        list(payloads([(0.0, stream)]))


def test_the_work_on_a_long_line_grows_with_its_length_and_not_with_its_square() -> None:
    def cpu_s(count: int) -> float:
        chunks = [(0.0, b"a" * 64)] * count + [(1.0, b"\n")]
        began = time.process_time()
        assert [len(line) for _, line in lines(chunks)] == [64 * count]
        return time.process_time() - began

    assert cpu_s(200_000) < 30 * max(cpu_s(20_000), 0.001)
