"""The wire: what is asked is sent in full, and whatever comes back is read or named as a fault, never raised."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_vibeserve.completions import Answer, TokenLogprobs, answer, body, exchange
from pytest_vibeserve.load_generator import Reply
from pytest_vibeserve.workload import Request, Vocabulary

PLAIN = Request(id=7, prompt_ids=(0, 5, 6), max_tokens=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def event(**fields: Any) -> bytes:
    return b"data: " + orjson.dumps(fields) + b"\n\n"


def token(number: int, text: str, index: int = 0, finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": index, "text": text, "token_ids": [number], "finish_reason": finish, **fields}
    return event(choices=[choice])


STREAM = b"".join(
    [
        token(5, "é", prompt_token_ids=[0, 5, 6]),
        b": a comment\r\n\r\n",
        token(6, "世界"),
        event(choices=[], usage=None),
        token(7, "", finish="length"),
        event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 3}),
        b"data: [DONE]\n\n",
    ]
)


def reply(*chunks: bytes, status: int = 200, error: str = "") -> Reply:
    stamped = tuple((1.0 + number, data) for number, data in enumerate(chunks))
    return Reply(7, status, error, 0.25, 0.5, stamped, 1.0 + len(chunks), ())


def read(*chunks: bytes, request: Request = PLAIN, vocabulary: Vocabulary, status: int = 200) -> Answer:
    return answer(request, reply(*chunks, status=status), vocabulary)


def test_a_stream_reads_as_its_ids_text_reason_usage_and_prompt(vocabulary: Vocabulary) -> None:
    found = read(STREAM, vocabulary=vocabulary)
    assert found.fault == ""
    assert [(choice.ids, choice.text, choice.finish_reason) for choice in found.choices] == [
        ((5, 6, 7), "é世界", "length")
    ]
    assert (found.usage, found.prompt_ids, found.tokens) == ((3, 3), (0, 5, 6), 3)
    assert (found.scheduled_s, found.sent_s, found.done_s) == (0.25, 0.5, 2.0)


def test_a_stream_reads_the_same_wherever_its_bytes_are_split(vocabulary: Vocabulary) -> None:
    whole = read(STREAM, vocabulary=vocabulary)
    for at in range(1, len(STREAM)):
        parts = read(STREAM[:at], STREAM[at:], vocabulary=vocabulary)
        assert (parts.fault, parts.choices, parts.usage) == (whole.fault, whole.choices, whole.usage), at


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1)))
def test_a_stream_reads_the_same_in_any_number_of_pieces(cuts: set[int], vocabulary: Vocabulary) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[start:end] for start, end in pairwise(edges)]
    assert read(*parts, vocabulary=vocabulary).choices == read(STREAM, vocabulary=vocabulary).choices


def test_lines_may_end_in_carriage_return_and_newline(vocabulary: Vocabulary) -> None:
    found = read(STREAM.replace(b"\n", b"\r\n"), vocabulary=vocabulary)
    assert (found.fault, found.choices[0].text) == ("", "é世界")


def test_an_event_has_the_time_of_the_byte_that_completed_it(vocabulary: Vocabulary) -> None:
    first, rest = token(5, "a"), token(6, "b", finish="length") + b"data: [DONE]\n\n"
    found = read(first[:10], first[10:], rest, vocabulary=vocabulary)
    assert [(event.at_s, event.tokens) for event in found.events] == [(2.0, 1), (3.0, 1)]


def test_an_event_without_ids_or_text_is_no_token(vocabulary: Vocabulary) -> None:
    blank = event(choices=[{"index": 0, "text": "", "token_ids": [], "finish_reason": None}])
    found = read(blank, STREAM, vocabulary=vocabulary)
    assert [event.at_s for event in found.events] == [2.0, 2.0, 2.0]


def test_text_without_an_id_counts_no_token_where_ids_are_given(vocabulary: Vocabulary) -> None:
    early = event(choices=[{"index": 0, "text": " ", "finish_reason": None}])
    found = read(early, STREAM, vocabulary=vocabulary)
    assert [event.tokens for event in found.events] == [0, 1, 1, 1]


def test_choices_of_one_request_are_kept_apart(vocabulary: Vocabulary) -> None:
    request = Request(id=7, prompt_ids=(0,), max_tokens=2, n=2)
    data = token(5, "a", 1) + token(6, "b") + token(7, "c", finish="length") + token(8, "d", 1, finish="length")
    found = read(data + b"data: [DONE]\n\n", request=request, vocabulary=vocabulary)
    assert [(choice.index, choice.ids, choice.text) for choice in found.choices] == [
        (0, (6, 7), "bc"),
        (1, (5, 8), "ad"),
    ]


def test_logprobs_are_read_by_token_id(vocabulary: Vocabulary) -> None:
    logprobs = {"token_logprobs": [-0.5], "top_logprobs": [{"token_id:9": -0.5, "token_id:3": -1.5}]}
    data = token(9, "a", finish="length", logprobs=logprobs) + b"data: [DONE]\n\n"
    assert read(data, vocabulary=vocabulary).choices[0].logprobs == (TokenLogprobs(-0.5, ((9, -0.5), (3, -1.5))),)


def test_an_answer_that_is_no_stream_is_read_whole(vocabulary: Vocabulary) -> None:
    request = Request(id=7, prompt_ids=(0,), max_tokens=2, stream=False)
    payload = {"choices": [{"index": 0, "text": "ab", "token_ids": [5, 6], "finish_reason": "length"}],
               "usage": {"prompt_tokens": 1, "completion_tokens": 2}}  # fmt: skip
    data = orjson.dumps(payload)
    found = read(data[:9], data[9:], request=request, vocabulary=vocabulary)
    assert (found.fault, found.choices[0].ids, found.usage) == ("", (5, 6), (1, 2))


def test_an_engine_without_ids_is_read_by_retokenising_its_text(vocabulary: Vocabulary) -> None:
    text = "import os"
    data = event(choices=[{"index": 0, "text": text, "finish_reason": "length"}]) + b"data: [DONE]\n\n"
    choice = read(data, vocabulary=vocabulary).choices[0]
    assert choice.retokenised
    assert vocabulary.decode(choice.ids) == text


FAULTS = {
    "ends without [DONE]": (STREAM.removesuffix(b"data: [DONE]\n\n"), "without data: [DONE]"),
    "is cut within an event": (STREAM[:40], "without data: [DONE]"),
    "goes on after [DONE]": (STREAM + token(5, "x"), "after data: [DONE]"),
    "holds an error": (event(error={"message": "boom", "code": "x"}) + STREAM, "an error event"),
    "is not JSON": (b"data: {oops\n\n" + STREAM, "not a completion"),
    "is not an object": (b"data: 3\n\n" + STREAM, "not a completion"),
    "has no choices": (b"data: {}\n\n" + STREAM, "KeyError"),
    "has a choice without index": (event(choices=[{"text": "x"}]) + STREAM, "KeyError"),
    "has no finish_reason": (token(5, "x") + b"data: [DONE]\n\n", "choice 0 has no finish_reason"),
    "has a choice too many": (token(5, "x", 1, finish="stop") + STREAM, "2 choices where 1 were asked for"),
    "is empty": (b"", "without data: [DONE]"),
    "answers nothing": (b"data: [DONE]\n\n", "0 choices where 1 were asked for"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stream_that_breaks_the_protocol_is_a_fault_in_words(fault: str, vocabulary: Vocabulary) -> None:
    data, told = FAULTS[fault]
    assert told in read(data, vocabulary=vocabulary).fault


@pytest.mark.parametrize("number", [-1, 2**40, 512, 3.5, "3", True, None, [3]])
def test_an_id_that_is_no_token_of_the_model_is_a_fault(number: object, vocabulary: Vocabulary) -> None:
    assert vocabulary.size == 512
    data = event(choices=[{"index": 0, "text": "", "token_ids": [number], "finish_reason": "length"}])
    found = read(data + b"data: [DONE]\n\n", vocabulary=vocabulary)
    assert "is not a token id of this model" in found.fault


def test_a_request_that_was_cut_off_keeps_the_reason(vocabulary: Vocabulary) -> None:
    assert answer(PLAIN, reply(STREAM[:50], error="timed out"), vocabulary).fault == "timed out"


def test_a_refusal_keeps_status_message_and_code(vocabulary: Vocabulary) -> None:
    refusal = orjson.dumps({"error": {"message": "too long", "type": "t", "param": None, "code": "context"}})
    found = read(refusal, status=400, vocabulary=vocabulary)
    assert (found.status, found.error) == (400, ("too long", "context"))
    assert found.fault.startswith("HTTP 400: ")


@pytest.mark.parametrize("body_of_error", [b"", b"gateway", b"[]", b'{"error": "text"}', b'{"error": {"message": 1}}'])
def test_a_refusal_in_another_shape_has_no_error_object(body_of_error: bytes, vocabulary: Vocabulary) -> None:
    assert read(body_of_error, status=503, vocabulary=vocabulary).error is None


@settings(max_examples=300)
@given(parts=st.lists(st.binary(max_size=40), max_size=4), status=st.sampled_from([200, 400]), stream=st.booleans())
def test_no_bytes_can_break_the_reader(parts: list[bytes], status: int, stream: bool, vocabulary: Vocabulary) -> None:
    request = Request(id=7, prompt_ids=(0,), max_tokens=2, stream=stream)
    assert isinstance(read(*parts, request=request, status=status, vocabulary=vocabulary), Answer)


@settings(max_examples=300)
@given(data=st.data())
def test_no_value_in_any_place_can_break_the_reader(data: st.DataObject, vocabulary: Vocabulary) -> None:
    logprobs = {"token_logprobs": [-0.5], "top_logprobs": [{"token_id:9": -0.5}]}
    choice: dict[str, Any] = {
        "index": 0,
        "text": "a",
        "token_ids": [5],
        "finish_reason": "length",
        "logprobs": logprobs,
    }
    payload: dict[str, Any] = {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    places = [payload, choice, logprobs, payload["usage"], *logprobs["top_logprobs"]]
    place = data.draw(st.sampled_from(places))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
    try:
        raw = orjson.dumps(payload)
    except (TypeError, orjson.JSONEncodeError):
        raw = b'{"choices": [{"index": 0, "token_ids": [123456789012345678901234567890]}]}'
    found = read(b"data: " + raw + b"\n\ndata: [DONE]\n\n", vocabulary=vocabulary)
    assert isinstance(found, Answer)
    for whole in found.choices if not found.fault else ():
        assert all(0 <= number < vocabulary.size for number in whole.ids), whole.ids


def test_every_value_that_is_relied_on_is_sent() -> None:
    sent = body(Request(id=1, prompt_ids=(0, 1), max_tokens=3))
    assert sent == {
        "prompt": [0, 1], "max_tokens": 3, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "n": 1, "stream": True,
        "ignore_eos": True, "return_token_ids": True,
    }  # fmt: skip


def test_what_was_not_asked_for_is_not_sent() -> None:
    sent = body(Request(id=1, prompt_ids=(0,), max_tokens=3, stream=False, include_usage=True, token_ids=False))
    assert not {"seed", "stop", "logprobs", "logit_bias", "stream_options", "return_token_ids"} & set(sent)


def test_a_request_with_everything_is_sent_with_everything() -> None:
    request = Request(
        id=1, prompt_ids=(0,), prompt_text="text", max_tokens=3, seed=0, stop=("a", "b"), logprobs=0,
        logit_bias=((5, -100.0),), include_usage=True, n=2, top_k=20, top_p=0.5, temperature=0.7,
    )  # fmt: skip
    sent = orjson.loads(exchange(request, 60.0).body)
    assert sent["prompt"] == "text"
    assert (sent["seed"], sent["stop"], sent["logprobs"], sent["n"]) == (0, ["a", "b"], 0, 2)
    assert sent["logit_bias"] == {"5": -100.0}
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["return_tokens_as_token_ids"] is True


@pytest.mark.parametrize(("given_", "sent"), [("as before", "as before"), ((5, 6), [5, 6]), ("", "")])
def test_a_prediction_is_sent_as_it_is_given(given_: str | tuple[int, ...], sent: object) -> None:
    asked = Request(id=7, prompt_ids=(0, 5, 6), max_tokens=4, prediction=given_)
    assert orjson.loads(orjson.dumps(body(asked)))["prediction"] == {"type": "content", "content": sent}
    assert "prediction" not in body(PLAIN)
