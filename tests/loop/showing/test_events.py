from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator

import pytest
from loop_lab import Lab, faster

TRACKER = """
import json

def init(project, id, config, resume):
    return Run(open("tracked.jsonl", "a"), project, id, config["policy"], resume)

class Run:
    def __init__(self, stream, *facts):
        self.stream = stream
        self.stream.write(json.dumps(facts) + "\\n")

    def log(self, data, step):
        self.stream.write(json.dumps([step, data]) + "\\n")

    def finish(self):
        self.stream.write('"finished"\\n')
        self.stream.close()
"""


@pytest.fixture
def busy(lab: Lab) -> Lab:
    lab.skill("batching", faster(3), relieves="serial-service")
    return lab


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that keeps what is posted to it, and its address."""
    posted: list[tuple[str, bytes]] = []

    class Keep(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keep)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_event_of_a_run_is_in_its_log(busy: Lab) -> None:
    assert busy.run().returncode == 0
    lines = [json.loads(line) for line in (busy.latest / "events.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if line["event"] == "round"]
    assert [line["round"] for line in rounds] == [r["round"] for r in busy.rounds()]
    assert rounds[1]["gain"] == 3
    assert rounds[1]["output_throughput.c16"] == 300
    assert all(line["t"] > 1e9 for line in lines)
    assert {"propose", "edit", "assess"} <= {line["phase"] for line in lines if line["event"] == "step"}


def test_a_line_that_a_kill_tore_is_ended_before_the_next(busy: Lab) -> None:
    assert busy.run("--max-rounds", "0").returncode == 0
    with (busy.latest / "events.jsonl").open("a") as stream:
        stream.write('{"t": 1, "ev')
    assert busy.call("resume", "--max-rounds", "1").returncode == 0
    lines = (busy.latest / "events.jsonl").read_text().splitlines()
    torn = lines.index('{"t": 1, "ev')
    assert all(json.loads(line)["event"] for line in lines[torn + 1 :])
    assert len(lines) > torn + 1


def test_a_tracker_is_told_every_round(busy: Lab) -> None:
    (busy.folder / "tracking.py").write_text(TRACKER)
    assert busy.run("--tracker", "tracking").returncode == 0
    lines = [json.loads(line) for line in (busy.folder / "tracked.jsonl").read_text().splitlines()]
    assert lines[0] == ["vibeserve", busy.latest.name, "plain", "allow"]
    assert [line[0] for line in lines[1:-1]] == [r["round"] for r in busy.rounds()]
    assert lines[2][1]["gain"] == 3
    assert lines[-1] == "finished"


def test_a_tracker_that_fails_is_warned_of_and_ends_nothing(busy: Lab) -> None:
    failing = TRACKER.replace('self.stream.write(json.dumps([step, data]) + "\\n")', 'raise OSError("no route")')
    assert "no route" in failing
    (busy.folder / "tracking.py").write_text(failing)
    done = busy.run("--tracker", "tracking")
    assert done.returncode == 0, done.stderr
    assert "warning: the tracker tracking failed: OSError: no route" in done.stderr
    assert (busy.folder / "tracked.jsonl").read_text().splitlines()[-1] == '"finished"'


SPEEDY = """
from vibeserve_loop.records import AgentResult

class SpeedyAgent:
    def __init__(self, api_key="", command=""):
        pass

    def work(self, brief, desk):
        (desk.folder / "speed").write_text(str(100 + brief.number))
        return AgentResult(summary="quicker")
"""


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_no_secret_of_a_command_line_reaches_a_log_a_screen_or_a_tracker(lab: Lab, flag: tuple[str, ...]) -> None:
    (lab.folder / "tracking.py").write_text(TRACKER.replace('config["policy"]', "config"))
    (lab.folder / "speedy.py").write_text(SPEEDY)
    reviewer = "true -H 'Authorization: Bearer sk-1'"
    words = ("--agent", "speedy:SpeedyAgent api_key=sk-2", "--agent", "speedy:SpeedyAgent command='x --token sk-3'")
    done = lab.run(*words, "--reviewer", reviewer, "--tracker", "tracking", "--max-rounds", "2", *flag)
    assert done.returncode in (0, 1, 5), done.stderr
    told = (lab.folder / "tracked.jsonl").read_text() + (lab.latest / "events.jsonl").read_text() + done.stdout
    assert "speedy:SpeedyAgent" in told
    assert "********" in told
    assert "sk-" not in told + done.stderr
    for looked in (("log", "--json"), ("show", "1", "--json"), ("show", "1"), ("log",)):
        assert "sk-" not in lab.call(*looked).stdout
    assert "sk-2" in (lab.latest / "run.json").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tracker", "no_such_tracker"), "install it (`pip install no_such_tracker`)"),
        (("--tracker", "json"), "the module has no init()"),
    ],
)
def test_a_tracker_that_is_not_there_is_said_before_any_round(busy: Lab, words: tuple[str, ...], said: str) -> None:
    done = busy.run(*words)
    assert done.returncode == 4
    assert said in done.stderr
    assert not (busy.folder / "runs").exists()


def test_rounds_are_exported_as_spans(
    busy: Lab, collector: tuple[str, list[tuple[str, bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra `otel`")
    address, posted = collector
    monkeypatch.setitem(os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT", address)
    done = busy.run("--otel")
    assert done.returncode == 0, done.stderr
    assert {path for path, _ in posted} == {"/v1/traces"}
    told = b"".join(body for _, body in posted)
    assert all(name in told for name in (b"round.starter", b"round.work", b"round.final", b"vibeserve.gain"))
