"""Streams are spoken in real time by a process of their own, and everything that comes back has its time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from wired import served

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.modalities.speech.streams import Leave, Order, Stream, speak

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


@pytest.mark.parametrize(("mode", "words"), [("deaf", "no final transcript within 0.5 s"), ("slow", "the server took")])
def test_a_server_that_does_not_read_makes_nobody_late_and_is_told(mode: str, words: str) -> None:
    """More than the kernel keeps for a server: sixteen megabytes in a second."""
    loud = Stream(0, bytes(16_000_000), 8_000_000, 800_000, 8, 0.0, 0.5 if mode == "deaf" else 9.0)
    with served("listener.py", Path(), mode) as port:
        told = speak(Order("127.0.0.1", port, None), [loud, stream(1, 0.5, 0.5)])
    found = told.streams[0]
    assert found.error.startswith(words)
    assert re.search(r"the server took the audio \d+\.\d\d s late \(p95; 0\.25 allowed\)$", found.error)
    assert len(found.sent_s) == 20
    assert found.finalised_s < 3, "what was said had an end, however much of it was read"


def test_a_client_that_the_machine_keeps_from_working_is_nobodys_fault() -> None:
    words = r"sent its audio \d\.\d\d s late; is the machine busy"
    with (
        served("listener.py", Path(), "honest") as port, _starved_children(),
        pytest.raises(InfrastructureError, match=words),
    ):  # fmt: skip
        speak(Order("127.0.0.1", port, None), [stream(0, 1.2), stream(1, 1.2)])


@contextmanager
def _starved_children() -> Iterator[None]:
    """A speaking client is stopped most of the time until the block's end."""
    over = threading.Event()

    def starve() -> None:
        while not over.is_set():
            for pid in _speakers():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    over.wait(0.5)
                    os.kill(pid, signal.SIGCONT)
            over.wait(0.3)

    thread = threading.Thread(target=starve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _speakers() -> list[int]:
    listed = subprocess.run(["ps", "-axww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [int(row[0]) for row in rows if row[1] == str(os.getpid()) and row[2].endswith("__init__.py")]


def test_a_stream_that_opens_late_is_late_for_its_server_and_not_for_the_client() -> None:
    with served("listener.py", Path(), "closed") as port:
        (found,) = speak(Order("127.0.0.1", port, None), [stream(0, 0.5)]).streams
    assert found.error == ""
    assert found.sent_s[0] - found.start_s < 0.5 <= found.events[0][0] - found.start_s


def test_nobody_there_is_the_servers_fault_and_a_lost_client_is_not() -> None:
    for gone in (None, 2**30):
        (found,) = speak(Order("127.0.0.1", 9, gone), [stream(0, 0.1)]).streams
        assert "connection failed" in found.error
    with pytest.raises(InfrastructureError, match="speaking client failed"):
        speak(Order("[", 9, None), [stream(0, 0.1)])


def test_a_client_leaves_with_a_farewell_or_without_and_opens_with_what_it_is_told() -> None:
    with served("listener.py", Path(), "honest") as port:
        going = [Leave(2), Leave(3, farewell=False), Leave(1, opening="not JSON"), Leave(1, opening="")]
        speak(
            Order("127.0.0.1", port, None),
            [replace(stream(place, 0.5), leaves=leave, start_s=0.5 * place) for place, leave in enumerate(going)],
        )
        (stayed,) = speak(Order("127.0.0.1", port, None), [stream(0, 0.1)]).streams
    (first, *others) = json.loads(stayed.events[-1][1])["left"]
    assert first == [stream(0, 0.5).opening, 2 * FRAME, 1000]
    assert others == [[first[0], 3 * FRAME, 1006], ["not JSON", FRAME, 1000], ["", FRAME, 1000]]
    assert json.loads(first[0]) == {"type": "start", "sample_rate": RATE, "max_tokens": 8, "return_token_ids": True}
