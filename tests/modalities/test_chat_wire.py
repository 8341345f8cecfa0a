"""Chats become bodies; whole and streamed replies become the same Answer."""

from __future__ import annotations

import json
from typing import Any

from pytest_vibeserve.load_generator import Reply
from pytest_vibeserve.modalities.chat.wire import ChatRequest, Message, answer, body
from pytest_vibeserve.workload import Vocabulary

REQUEST = ChatRequest(
    id=3, prompt_ids=(0, 5, 6), max_tokens=4, stream=False, logprobs=2, messages=(Message("user", "hi"),),
    schema='{"type": "boolean"}', prediction="true",
)  # fmt: skip


def reply(*chunks: bytes) -> Reply:
    stamped = tuple((0.1 * (index + 1), chunk) for index, chunk in enumerate(chunks))
    return Reply(3, 200, "", 0.0, 0.0, stamped, 1.0, ())


def entry(token: int) -> dict[str, Any]:
    tops = [{"token": f"token_id:{token}", "logprob": -0.5}, {"token": "token_id:9", "logprob": -2.0}]
    return {"token": f"token_id:{token}", "logprob": -0.5, "top_logprobs": tops}


def test_a_chat_says_everything_that_the_gate_relies_on() -> None:
    said = body(REQUEST)
    assert said["messages"] == [{"role": "user", "content": "hi"}]
    assert said["response_format"]["json_schema"]["schema"] == {"type": "boolean"}
    assert said["prediction"] == {"type": "content", "content": "true"}
    assert (said["logprobs"], said["top_logprobs"], said["return_token_ids"]) == (True, 2, True)
    assert "prompt" not in said


def test_whole_and_streamed_answers_are_read_alike(chat_vocabulary: Vocabulary) -> None:
    text = chat_vocabulary.decode([40, 41])
    content = {"content": [entry(40), entry(41)]}
    whole = {
        "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "length", "token_ids": [40, 41],
                     "logprobs": content}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2}, "prompt_token_ids": [0, 5, 6],
    }  # fmt: skip
    found = answer(REQUEST, reply(json.dumps(whole).encode()), chat_vocabulary)
    events = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "prompt_token_ids": [0, 5, 6]},
        *(
            {"choices": [{"index": 0, "delta": {"content": chat_vocabulary.decode([token])}, "token_ids": [token],
                          "logprobs": {"content": [entry(token)]}}]}
            for token in (40, 41)
        ),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
    ]  # fmt: skip
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    streaming = ChatRequest(**{name: getattr(REQUEST, name) for name in ("id", "prompt_ids", "max_tokens", "logprobs")})
    streamed = answer(streaming, reply(raw[:150], raw[150:160], raw[160:]), chat_vocabulary)
    assert (found.fault, streamed.fault) == ("", "")
    assert found.choices == streamed.choices
    assert found.choices[0].ids == (40, 41)
    assert found.choices[0].logprobs[0].top == ((40, -0.5), (9, -2.0))
    assert (found.usage, found.prompt_ids, streamed.prompt_ids) == ((3, 2), (0, 5, 6), (0, 5, 6))
    assert [event.tokens for event in streamed.events] == [1, 1]


def test_what_is_no_chat_is_a_fault_and_no_crash(chat_vocabulary: Vocabulary) -> None:
    for raw in (b"", b"[]", b'{"choices": 7}', b'{"choices": [{"index": 0}]}', b'{"choices": [null]}', b'"text"'):
        assert answer(REQUEST, reply(raw), chat_vocabulary).fault
