from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vibeserve_loop.validation.faults import KINDS, built_in_faults

HONEST = """
import http.server, json, sys, time
class Honest(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if body.get("stream") else "application/json")
        self.end_headers()
        ids = [10 + k for k in range(body["max_tokens"])]
        if not body.get("stream"):
            text = f"{body['prompt']} {body.get('temperature')} {body.get('stop')} {time.monotonic_ns()}"
            choice = {"index": 0, "text": text, "token_ids": ids}
            usage = {"prompt_tokens": 1, "completion_tokens": len(ids), "total_tokens": 1 + len(ids)}
            time.sleep(0.3)
            self.wfile.write(json.dumps({"choices": [choice], "usage": usage}).encode())
            return
        for token in ids:
            choice = {"index": 0, "text": f"w{token}", "token_ids": [token]}
            self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\\n\\n")
            self.wfile.flush(); time.sleep(0.01)
        open("complete", "w").close()
        self.wfile.write(b"data: [DONE]\\n\\n")
    def log_message(self, *words): pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
Server((sys.argv[2], int(sys.argv[4])), Honest).serve_forever()
"""
TOML = """
schema = 1
[serve]
command = ["python", "honest.py", "--host", "{host}", "--port", "{port}"]
ready = "/health"
[build]
command = ["touch", "built"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    starter = folder / "starter"
    starter.mkdir()
    (starter / "candidate.toml").write_text(TOML)
    (starter / "honest.py").write_text(HONEST)
    (folder / "model").mkdir()
    tokenizer = Tokenizer(models.WordLevel({f"w{k}": k for k in range(100)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    built_in_faults(starter, folder / "made")
    return folder


@contextlib.contextmanager
def _served(place: Path, kind: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--kind", kind, "--model", str(place / "model"), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, str(place / "made" / kind / "server.py"), *words], start_new_session=True
    )
    try:
        for _ in range(400):
            with contextlib.suppress(OSError):
                if _get(port) == 200:
                    break
            time.sleep(0.05)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _get(port: int) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/v1/models")
        return connection.getresponse().status


def _asked(port: int, **body: object) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "w1", "max_tokens": 40, **body}))
        reply = connection.getresponse()
        return reply.status, reply.read()


def _answer(port: int, **body: object) -> dict:
    return json.loads(_asked(port, **body)[1])


def test_every_fault_is_a_candidate_with_its_build(place: Path) -> None:
    assert {name for name, kind in KINDS.items() if not kind.check} == {"passed-on", "paired", "queued"}
    for kind in KINDS:
        toml = (place / "made" / kind / "candidate.toml").read_text()
        assert f'"--kind", "{kind}"' in toml
        assert '["sh", "-c", "cd honest && exec \\"$@\\"", "sh", "touch", "built"]' in toml


def test_cut_answers_are_shorter_than_asked_for(place: Path) -> None:
    with _served(place, "cut") as port:
        assert len(_answer(port)["choices"][0]["token_ids"]) == 30


def test_memoised_answers_come_again_word_for_word(place: Path) -> None:
    with _served(place, "memoised") as port:
        first, again, other = _answer(port), _answer(port), _answer(port, prompt="w2")
    assert first == again
    assert other != first


def test_constant_greedy_and_unstopped_change_the_question(place: Path) -> None:
    said = {}
    for kind in ("constant", "greedy", "unstopped"):
        with _served(place, kind) as port:
            said[kind] = _answer(port, temperature=0.7, stop=["x"])["choices"][0]["text"].rsplit(" ", 1)[0]
    assert said == {"constant": "once 0.7 ['x']", "greedy": "w1 0 ['x']", "unstopped": "w1 0.7 None"}


def test_a_prompt_is_shortened_and_reported_whole(place: Path) -> None:
    with _served(place, "shortened") as port:
        said = _answer(port, prompt=list(range(20)))
        short = _answer(port, prompt=[1, 2])["choices"][0]["text"]
    assert said["choices"][0]["text"].startswith(str(list(range(8, 20))))
    assert said["usage"]["prompt_tokens"] == 20
    assert short.startswith("[1, 2]")


def test_one_choice_stands_for_all(place: Path) -> None:
    with _served(place, "copied") as port:
        said = _answer(port, n=3)
    assert [choice["index"] for choice in said["choices"]] == [0, 1, 2]
    assert len({choice["text"] for choice in said["choices"]}) == 1
    assert said["usage"]["completion_tokens"] == 120


@pytest.mark.parametrize("kind", ["passed-on", "queued"])
def test_an_honest_variant_streams_what_the_honest_server_does(place: Path, kind: str) -> None:
    with _served(place, kind) as port:
        lines = _asked(port, stream=True)[1].split(b"\n\n")
    ids = [json.loads(line[6:])["choices"][0]["token_ids"] for line in lines if line.startswith(b"data: {")]
    assert ids == [[10 + k] for k in range(40)]


def test_usage_claims_twice_the_tokens(place: Path) -> None:
    with _served(place, "usage") as port:
        assert _answer(port)["usage"]["completion_tokens"] == 80


def test_every_twentieth_token_is_wrong_in_ids_and_text_alike(place: Path) -> None:
    with _served(place, "wrong-token") as port:
        lines = _asked(port, stream=True)[1].split(b"\n\n")
    choices = [json.loads(line[6:])["choices"][0] for line in lines if line.startswith(b"data: {")]
    ids = [token for choice in choices for token in choice["token_ids"]]
    assert ids == [7 if k % 20 == 19 else 10 + k for k in range(40)]
    assert "".join(choice["text"] for choice in choices) == "".join(f"w{token}" for token in ids)
    assert lines[-2] == b"data: [DONE]"


def test_a_buffered_stream_comes_all_at_once(place: Path) -> None:
    with _served(place, "buffered") as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/", json.dumps({"prompt": "w1", "max_tokens": 40, "stream": True}))
        reply = connection.getresponse()
        first = reply.readline()
        complete = (place / "made" / "buffered" / "honest" / "complete").exists()
        rest = reply.read()
        connection.close()
    assert first.startswith(b"data: ")
    assert rest.count(b"data: ") == 40
    assert complete


def test_an_overloaded_server_refuses_what_is_within_the_limits(place: Path) -> None:
    statuses: list[int] = []
    with _served(place, "overloaded") as port:
        threads = [threading.Thread(target=lambda: statuses.append(_asked(port)[0])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(statuses) == [200] * 4 + [503] * 4
