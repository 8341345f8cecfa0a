from __future__ import annotations

import json

from vibeserve_loop.validation.fault_kinds import SPOILERS, paired
from vibeserve_loop.validation.faults import KINDS


def event(token: int, **fields: object) -> bytes:
    known = {"index": 0, "text": f"w{token}", "token_ids": [token], "logprobs": None, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [{**known, **fields}]}).encode() + b"\n"


def told(lines: list[bytes]) -> list[list[int]]:
    return [json.loads(line[6:])["choices"][0]["token_ids"] for line in lines if line.startswith(b"data: {")]


def spoilt(kind: str, **body: object) -> dict:
    return SPOILERS[kind]("").request({"prompt": "a", "temperature": 1, "seed": 3, "stop": "x", **body})


def test_every_kind_has_what_it_does() -> None:
    assert set(SPOILERS) == set(KINDS)


def test_pairs_of_events_are_joined_and_the_last_one_stands_alone() -> None:
    lines = [part for token in range(5) for part in (event(token), b"\n")] + [b"data: [DONE]\n", b"\n"]
    found = list(paired(lines))
    assert told(found) == [[0, 1], [2, 3], [4]]
    assert found[-2:] == [b"data: [DONE]\n", b"\n"]


def test_events_of_different_choices_and_with_logprobs_keep_what_they_say() -> None:
    one = {"tokens": ["a"], "token_logprobs": [-1.0]}
    lines = [event(1, logprobs=one), event(2, logprobs=one), event(3), event(4, index=1, finish_reason="stop")]
    found = list(paired(lines))
    assert told(found) == [[1, 2], [3], [4]]
    assert json.loads(found[0][6:])["choices"][0]["logprobs"]["token_logprobs"] == [-1.0, -1.0]


def test_an_answer_that_is_no_stream_passes() -> None:
    assert list(paired([b'{"choices": []}'])) == [b'{"choices": []}']


def test_a_field_is_dropped_and_the_others_stay() -> None:
    assert spoilt("seedless") == {"prompt": "a", "temperature": 1, "stop": "x"}
    assert "stop" not in spoilt("unstopped")
    assert spoilt("greedy")["temperature"] == 0
    assert spoilt("cut", max_tokens=8)["max_tokens"] == 6


def test_logprobs_are_made_up_and_keep_their_order() -> None:
    told_ = {"token_logprobs": [-1.0, None], "top_logprobs": [{"a": -1.0, "b": -2.0}, None]}
    found = SPOILERS["fabricated"]("").event({"choices": [{"logprobs": told_}]}, {}, {})["choices"][0]["logprobs"]
    assert found["token_logprobs"] == [-1.2, None]
    assert found["top_logprobs"] == [{"a": -1.2, "b": -1.7}, {}]
