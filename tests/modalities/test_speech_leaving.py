"""Clients leave streams as told: every second one beside others, many in a row, and some that open oddly."""

from __future__ import annotations

import json
import random
from pathlib import Path

from wired import Wired, served

from pytest_vibeserve.modalities.speech.leaving import HOUSES, OPENINGS, left
from pytest_vibeserve.modalities.speech.streams import Order, Stream, speak
from pytest_vibeserve.modalities.speech.wire import SpeechWire
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary

HOUSE = 4


def test_more_streams_are_left_than_a_server_has_places_and_those_that_stay_are_heard(
    speech_target: Target, vocabulary: Vocabulary
) -> None:
    speech = speech_target.speech.model_copy(update={"seconds": (0.6, 0.7), "chunk_s": 0.1, "streams": HOUSE})
    target = speech_target.model_copy(update={"speech": speech})
    kind = ("listener.py", "honest")
    with served(kind[0], Path(), kind[1]) as port, Wired(target, vocabulary, port, kind) as bench:
        answers = left(bench, SpeechWire(target, vocabulary, 0), random.Random(3))
        last = Stream(0, bytes(3200), 16_000, 3200, 8, 0.0, 5.0)
        (found,) = speak(Order("127.0.0.1", port, None), [last]).streams
    assert len(answers) == HOUSE // 2 + HOUSE
    assert all(answer.finalised_s < 60 for answer in answers), "those who stay speak to their end"
    gone = json.loads(found.events[-1][1])["left"]
    assert len(gone) == HOUSE // 2 + HOUSES["quick"] * HOUSE + len(OPENINGS) - 1, "one opens with an end"
    assert {code for _, _, code in gone} == {1000, 1006}
    assert {opening for opening, _, _ in gone} == {last.opening.replace("8", str(n)) for n in range(8, 13)} | {
        words for words in OPENINGS if "finalize" not in words
    }
