"""What any text candidate promises over HTTP, asked of a server that runs as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

CONTEXT = 1024
STARTUP_S = 60.0
PROMPT = [0, 73, 129, 104, 77, 356, 344, 284, 9, 89, 309, 271, 327]


@dataclass(frozen=True, slots=True)
class Served:
    """A running candidate: where it listens, and the model it was given."""

    port: int
    model: Path
    process: subprocess.Popen[bytes]

    def ask(self, body: dict[str, Any] | bytes, *, path: str = "/v1/completions") -> tuple[int, Any]:
        """Return status and JSON of a POST."""
        status, raw = self.raw("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())
        return status, json.loads(raw)

    def raw(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return status and bytes of any request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    def whole(self, **fields: Any) -> dict[str, Any]:
        """Return a complete answer with token ids."""
        status, answer = self.ask({"prompt": PROMPT, "temperature": 0, "return_token_ids": True} | fields)
        assert status == 200, answer
        return dict(answer)

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """Return the events of a stream, which must end with the end mark."""
        asked = {"prompt": PROMPT, "temperature": 0, "return_token_ids": True, "stream": True} | fields
        status, raw = self.raw("POST", "/v1/completions", json.dumps(asked).encode())
        assert status == 200, raw
        *lines, last = [line for line in raw.decode().split("\n\n") if line]
        assert last == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines]


@contextmanager
def served(folder: Path, model: Path) -> Iterator[Served]:
    """Start the candidate in `folder`, and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "server.py", "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=one_thread)
    server = Served(port, model, process)
    try:
        _await_health(server, folder / "server.log")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)


def _await_health(server: Served, log: Path) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if server.raw("GET", "/health")[0] == 200:
                return
        except ConnectionError:
            time.sleep(0.1)
    raise AssertionError(log.read_text(encoding="utf-8"))


def joined(events: list[dict[str, Any]], index: int = 0) -> tuple[str, list[int], str | None]:
    """Return text, ids and finish reason of one choice of a stream."""
    choices = [choice for event in events for choice in event["choices"] if choice["index"] == index]
    ids = [token for choice in choices for token in choice["token_ids"]]
    return "".join(choice["text"] for choice in choices), ids, choices[-1]["finish_reason"]


class CompletionContract:
    """Tests of one served candidate, which the module's fixture `server` gives."""

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, server: Served) -> torch.nn.Module:
        """The served model, computing in float32."""
        model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
            server.model, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
        return model.eval()

    def test_health_and_the_model_list_answer(self, server: Served) -> None:
        assert server.raw("GET", "/health")[0] == 200
        listed = json.loads(server.raw("GET", "/v1/models")[1])
        assert [one["id"] for one in listed["data"]] == [server.model.name]

    def test_greedy_tokens_are_near_the_best_of_the_reference(self, server: Served, reference: torch.nn.Module) -> None:
        for prompt in (PROMPT, PROMPT * 9, [0]):
            ids = server.whole(prompt=prompt, max_tokens=24, ignore_eos=True)["choices"][0]["token_ids"]
            assert len(ids) == 24
            with torch.inference_mode():
                logits = reference(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
            margins = logits.max(dim=-1).values - logits.gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
            assert margins.max() < 0.6
            assert margins.mean() < 0.03

    def test_the_text_is_that_of_the_ids_and_a_stream_is_the_whole_answer(self, server: Served) -> None:
        tokenizer = Tokenizer.from_file(str(server.model / "tokenizer.json"))
        whole = server.whole(max_tokens=40, ignore_eos=True)
        choice = whole["choices"][0]
        events = server.events(max_tokens=40, ignore_eos=True, stream_options={"include_usage": True})
        assert choice["text"] == tokenizer.decode(choice["token_ids"], skip_special_tokens=True)
        assert joined(events[:-1]) == (choice["text"], choice["token_ids"], "length")
        assert whole["prompt_token_ids"] == events[0]["prompt_token_ids"] == PROMPT
        assert events[-1]["choices"] == []
        assert events[-1]["usage"] == whole["usage"]
        assert whole["usage"]["completion_tokens"] == 40
        assert whole["usage"]["prompt_tokens"] == len(PROMPT)

    def test_a_string_prompt_is_tokenised_as_the_tokenizer_does(self, server: Served) -> None:
        answer = server.whole(prompt="def café(x): 日本 <s>", max_tokens=1)
        tokenizer = Tokenizer.from_file(str(server.model / "tokenizer.json"))
        assert answer["prompt_token_ids"] == tokenizer.encode("def café(x): 日本 <s>").ids

    def test_a_stop_string_cuts_the_text_whole_and_streamed(self, server: Served) -> None:
        free = server.whole(max_tokens=32, ignore_eos=True)["choices"][0]
        stop = free["text"][len(free["text"]) // 2 :][:3]
        cut = server.whole(max_tokens=32, ignore_eos=True, stop=["not there", stop])["choices"][0]
        assert cut["text"] == free["text"][: free["text"].index(stop)]
        assert cut["finish_reason"] == "stop"
        assert cut["token_ids"] == free["token_ids"][: len(cut["token_ids"])]
        streamed = joined(server.events(max_tokens=32, ignore_eos=True, stop=["not there", stop]))
        assert streamed == (cut["text"], cut["token_ids"], "stop")

    def test_an_end_token_ends_the_answer_and_is_in_the_ids_only(self, server: Served) -> None:
        choice = server.whole(max_tokens=8, logit_bias={"1": 100})["choices"][0]
        assert (choice["token_ids"], choice["text"], choice["finish_reason"]) == ([1], "", "stop")
        ignored = server.whole(max_tokens=8, logit_bias={"1": 100}, ignore_eos=True)["choices"][0]
        assert (ignored["token_ids"], ignored["text"], ignored["finish_reason"]) == ([1] * 8, "", "length")

    def test_a_bias_of_minus_100_forbids_a_token(self, server: Served) -> None:
        best = server.whole(max_tokens=1)["choices"][0]["token_ids"][0]
        assert server.whole(max_tokens=1, logit_bias={str(best): -100})["choices"][0]["token_ids"] != [best]

    def test_choices_are_independent_draws_and_a_seed_repeats_them(self, server: Served) -> None:
        drawn = {"max_tokens": 12, "temperature": 1.0, "n": 3, "seed": 5, "ignore_eos": True}
        first = [choice["token_ids"] for choice in server.whole(**drawn)["choices"]]
        again = server.events(**drawn)
        assert len({tuple(ids) for ids in first}) == 3
        assert [joined(again, index)[1] for index in range(3)] == first

    def test_top_k_of_one_is_greedy_at_any_temperature(self, server: Served) -> None:
        greedy = server.whole(max_tokens=6)["choices"][0]["token_ids"]
        drawn = server.whole(max_tokens=6, temperature=0.8, top_k=1)["choices"][0]["token_ids"]
        nucleus = server.whole(max_tokens=6, temperature=0.8, top_p=1e-6)["choices"][0]["token_ids"]
        assert greedy == drawn == nucleus

    def test_several_prompts_give_choices_in_their_order(self, server: Served) -> None:
        prompts = [PROMPT, [0, 5, 9]]
        both = server.whole(prompt=prompts, max_tokens=6, ignore_eos=True)
        alone = [server.whole(prompt=one, max_tokens=6, ignore_eos=True)["choices"][0] for one in prompts]
        assert [choice["text"] for choice in both["choices"]] == [choice["text"] for choice in alone]
        assert both["usage"]["prompt_tokens"] == len(PROMPT) + 3
        assert len(server.whole(prompt=["a", "b", "c"], max_tokens=2)["choices"]) == 3

    def test_logprobs_are_those_of_the_model(self, server: Served, reference: torch.nn.Module) -> None:
        fields = {"max_tokens": 6, "logprobs": 3, "return_tokens_as_token_ids": True, "temperature": 0.7, "seed": 1}
        choice = server.whole(**fields, ignore_eos=True)["choices"][0]
        found = choice["logprobs"]
        assert found["tokens"] == [f"token_id:{token}" for token in choice["token_ids"]]
        with torch.inference_mode():
            logits = reference(torch.tensor([PROMPT + choice["token_ids"]])).logits[0, len(PROMPT) - 1 : -1]
        expected = logits.log_softmax(dim=-1)
        for row, top, token, own in zip(
            expected, found["top_logprobs"], choice["token_ids"], found["token_logprobs"], strict=True
        ):
            assert 3 <= len(top) <= 4
            assert own == pytest.approx(float(row[token]), abs=0.4)
            assert max(top.values()) == pytest.approx(float(row.max()), abs=0.4)
        assert server.whole(max_tokens=2)["choices"][0]["logprobs"] is None

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"prompt": None}, "prompt"),
            ({"prompt": []}, "prompt"),
            ({"prompt": [99999]}, "prompt"),
            ({"prompt": [True]}, "prompt"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": "8"}, "max_tokens"),
            ({"temperature": -1}, "temperature"),
            ({"top_p": 0}, "top_p"),
            ({"n": 0}, "n"),
            ({"logprobs": 6}, "logprobs"),
            ({"logit_bias": {"99999": 1}}, "logit_bias"),
            ({"stop": [""]}, "stop"),
            ({"stream": "yes"}, "stream"),
        ],
    )
    def test_a_malformed_field_is_a_400_that_names_it(self, server: Served, fields: dict[str, Any], param: str) -> None:
        status, answer = server.ask({"prompt": PROMPT, "max_tokens": 4} | fields)
        assert (status, answer["error"]["param"]) == (400, param)
        assert set(answer["error"]) == {"message", "type", "param", "code"}

    def test_other_refusals_are_4xx_and_the_server_stays_up(self, server: Served) -> None:
        assert server.ask(b"{no json")[0] == 400
        assert server.ask(b"[]")[0] == 400
        assert server.ask({"prompt": PROMPT, "model": "another"})[0] == 404
        assert server.ask({"prompt": "a"}, path="/v1/nothing")[0] == 404
        assert server.raw("GET", "/v1/completions")[0] == 405
        status, answer = server.ask({"prompt": PROMPT, "max_tokens": CONTEXT})
        assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
        assert len(server.whole(prompt=[0] * (CONTEXT - 2), max_tokens=2)["choices"][0]["token_ids"]) <= 2

    def test_unknown_fields_are_ignored(self, server: Served) -> None:
        plain = server.whole(max_tokens=4)["choices"]
        assert server.whole(max_tokens=4, min_tokens=3, best_of=2, user="x", suffix=None)["choices"] == plain

    def test_more_requests_than_slots_wait_their_turn(self, server: Served, reference: torch.nn.Module) -> None:
        prompts = [[0, 20 + at, *PROMPT[1 : 3 + at % 9]] for at in range(24)]

        def ask(prompt: list[int]) -> list[int]:
            answer = server.whole(prompt=prompt, max_tokens=6, ignore_eos=True)
            return list(answer["choices"][0]["token_ids"])

        with ThreadPoolExecutor(len(prompts)) as pool:
            answers = list(pool.map(ask, prompts))
        for prompt, ids in zip(prompts, answers, strict=True):
            assert len(ids) == 6
            with torch.inference_mode():
                logits = reference(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
            margins = logits.max(dim=-1).values - logits.gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
            assert margins.max() < 0.6

    def test_a_client_that_hangs_up_does_not_hold_up_the_next(self, server: Served) -> None:
        body = json.dumps({"prompt": PROMPT, "max_tokens": 900, "stream": True, "ignore_eos": True, "n": 40}).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            assert b"200" in client.recv(4096)
        # 36 000 tokens would take minutes; within the client's time-out the answer shows that they were dropped.
        assert server.whole(max_tokens=2)["choices"]
