"""The reader of answers, fed byte strings cut everywhere."""

from __future__ import annotations

from itertools import combinations

import pytest
from servers.stub import CHUNKED, PAYLOAD, chunk, sized

from pytest_vibeserve.load_generator.http1 import Answer
from pytest_vibeserve.load_generator.malformed import MalformedAnswer

WIRES = {
    "sized": sized(PAYLOAD),
    "chunked": CHUNKED + chunk(PAYLOAD[:9]) + chunk(PAYLOAD[9:]) + b"0\r\n\r\n",
    "with a trailer": CHUNKED + b"3A;x=y\r\n" + PAYLOAD + b"\r\n0 ;z\r\nX-Sum: 1\r\n\r\n",
    "after an informational one": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + sized(PAYLOAD),
}


def read_bytewise(wire: bytes, room: int = 10_000_000) -> Answer:
    answer = Answer(room=room)
    ends = [answer.feed(float(at), wire[at : at + 1]) for at in range(len(wire))]
    assert ends == [False] * (len(wire) - 1) + [True]
    return answer


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES.keys())
def test_an_answer_is_read_the_same_wherever_two_cuts_fall(wire: bytes) -> None:
    for first, second in combinations(range(1, len(wire)), 2):
        answer = Answer()
        packets = [wire[:first], wire[first:second], wire[second:]]
        assert [answer.feed(float(at), packet) for at, packet in enumerate(packets)] == [False, False, True]
        assert b"".join(part for _, part in answer.chunks) == PAYLOAD
        assert answer.status == 200


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES.keys())
def test_each_byte_of_a_body_has_the_time_at_which_it_arrived(wire: bytes) -> None:
    answer = read_bytewise(wire)
    assert all(wire[int(at) : int(at) + 1] == part for at, part in answer.chunks)
    assert len(answer.chunks) == len(PAYLOAD)


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        sized(PAYLOAD, b"Content-Length: 3\r\n"),
        sized(PAYLOAD, b"Transfer-Encoding: chunked\r\n"),
        CHUNKED + b"5\r\nhello!!",
        CHUNKED + b"-5\r\nhello\r\n",
        CHUNKED + b"0x5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000,
        CHUNKED + b"5;" + b"a" * 20_000,
    ],
)
def test_what_is_not_an_answer_is_refused_in_one_piece_and_byte_by_byte(wire: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        Answer().feed(0.0, wire)
    with pytest.raises(MalformedAnswer):
        read_bytewise(wire)


def test_an_answer_to_head_has_no_body() -> None:
    assert Answer(bodiless=True).feed(0.0, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES.keys())
def test_bytes_after_the_end_of_an_answer_are_refused_and_the_body_kept(wire: bytes) -> None:
    answer = Answer()
    with pytest.raises(MalformedAnswer, match="4 bytes"):
        answer.feed(0.0, wire + b"more")
    assert answer.chunks == [(0.0, PAYLOAD)]


def test_small_packets_take_more_room_than_their_bytes() -> None:
    wire = sized(bytes(2_000))
    assert Answer(room=10_000).feed(0.0, wire)
    with pytest.raises(MalformedAnswer, match="larger"):
        read_bytewise(wire, room=10_000)
