"""Tiny candidates in folders of their own, and looking at what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.errors import CandidateFailure
from pytest_vibeserve.isolation.processes import table
from pytest_vibeserve.server import Launch, Server

REPOSITORY = Path(__file__).resolve().parent.parent
TOML = """schema = 1
[serve]
command = ["python", "server.py", "{model}", "{host}", "{port}"]
ready = "/health"
"""
SERVE = """
import http.server, os, subprocess, sys, time
def body(path):
    return open(path, "rb").read() if os.path.exists(path) else b"ok"
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = body("." + self.path)
        self.send_response(STATUS if self.path == "/health" else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_):
        pass
def serve(status=200):
    global STATUS
    STATUS = status
    http.server.ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Answer).serve_forever()
"""
FETCH = """
import sys, urllib.request
from pytest_vibeserve.isolation import enter_network
if sys.argv[1] != "None":
    enter_network(int(sys.argv[1]))
sys.stdout.write(urllib.request.urlopen(sys.argv[2], timeout=20).read().decode())
"""


class Place:
    """A folder for one candidate, its model and its log."""

    def __init__(self, folder: Path) -> None:
        self.code = folder / "code"
        self.model = folder / "model"
        self.log = folder / "log" / "server.log"
        self.private = folder / "private"
        for made in (self.code, self.model, self.private):
            made.mkdir()
        (self.code / "candidate.toml").write_text(TOML)

    def write(self, program: str, toml: str = "") -> None:
        (self.code / "server.py").write_text(SERVE + program)
        (self.code / "candidate.toml").write_text(TOML + toml)

    def start(self, isolation: str, startup_s: float = 30, memory_gib: float | None = None) -> Server:
        launch = Launch(startup_s, memory_gib, self.log, isolation)
        return Server.start(load_candidate(self.code), self.model, launch=launch)

    def failure(self, isolation: str, startup_s: float = 30, memory_gib: float | None = None) -> CandidateFailure:
        with pytest.raises(CandidateFailure) as caught:
            self.start(isolation, startup_s, memory_gib).stop()
        return caught.value


def fetch(server: Server, route: str) -> str:
    """GET a route from inside the server's network."""
    url = f"http://{server.host}:{server.port}{route}"
    command = [sys.executable, "-c", FETCH, str(server.netns_pid), url]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def running(marker: str) -> list[int]:
    """The processes whose command line holds a text."""
    found = []
    for pid in table():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if marker.encode() in words:
            found.append(pid)
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
