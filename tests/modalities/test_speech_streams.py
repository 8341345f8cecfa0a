"""Streams are spoken in real time by a process of their own, and everything that comes back has its time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wired import served

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.modalities.speech.streams import Order, Stream, speak

RATE, FRAME = 16_000, 3200


def stream(identity: int, seconds: float, timeout_s: float = 5.0) -> Stream:
    return Stream(identity, bytes(round(seconds * RATE) * 2), RATE, FRAME, 8, 0.0, timeout_s)


def test_frames_leave_when_they_are_spoken_and_everything_is_heard() -> None:
    with served("listener.py", Path(), "honest") as port:
        streams = [stream(0, 0.55), stream(1, 0.2)]
        told = speak(Order("127.0.0.1", port, None), streams)
    first, second = told.streams
    assert told.late_s[0] <= told.late_s[1]
    assert told.cpu_s > 0
    assert 0 < told.lag_s < 5, "the loop was watched"
    assert (first.error, second.error) == ("", "")
    assert len(first.sent_s) == 6
    assert all(sent_s - first.start_s >= 0.1 * (k + 1) - 1e-3 for k, sent_s in enumerate(first.sent_s[:-1]))
    said = [json.loads(text) for _, text in first.events]
    assert [one["heard"] for one in said] == [3200, 6400, 9600, 12800, 16000, 17600, 17600]
    assert all(at_s >= sent_s for (at_s, _), sent_s in zip(first.events, first.sent_s, strict=False))
    assert first.sent_s[-1] <= first.finalised_s <= first.events[-1][0] <= first.done_s


@pytest.mark.parametrize(("mode", "words"), [("silent", "no final transcript within 0.5 s"), ("rude", "closed")])
def test_a_server_that_does_not_end_well_is_told(mode: str, words: str) -> None:
    with served("listener.py", Path(), mode) as port:
        (found,) = speak(Order("127.0.0.1", port, None), [stream(0, 0.3, 0.5)]).streams
    assert words in found.error


def test_nobody_there_is_the_servers_fault_and_a_lost_client_is_not() -> None:
    (found,) = speak(Order("127.0.0.1", 9, None), [stream(0, 0.1)]).streams
    assert "connection failed" in found.error
    with pytest.raises(InfrastructureError, match="speaking client failed"):
        speak(Order("127.0.0.1", 9, 2**30), [stream(0, 0.1)])
