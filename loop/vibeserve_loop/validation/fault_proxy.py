"""A server of known worth: passes requests to an honest server that it starts, and spoils what passes, or does not.

Copied into a candidate's folder and started as a program; needs nothing beyond the standard library.
"""

import argparse
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vibeserve_loop.validation.fault_kinds import SPOILERS, Body, Memory, paired

PLACES = {"overloaded": 4, "queued": 1}


class Proxy(ThreadingHTTPServer):
    """Where requests come in; `kind` is the fault, `upstream` the honest server's port."""

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, address: tuple[str, int], kind: str, model: str, upstream: int) -> None:
        super().__init__(address, Passage)
        self.kind, self.upstream = kind, upstream
        self.spoiler = SPOILERS[kind](model)
        self.answers: dict[str, list[bytes]] = {}
        self.places = threading.Semaphore(PLACES.get(kind, 10_000))


class Passage(BaseHTTPRequestHandler):
    """One request on its way there and back."""

    server: Proxy

    def do_GET(self) -> None:
        """Pass on as it is."""
        status, kind, lines = self.ask("GET", None)
        self.answer(status, kind, lines)

    def do_POST(self) -> None:
        """Pass on spoilt, or refuse when the fault is to have too few places."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.server.places.acquire(blocking=self.server.kind == "queued"):
            self.answer(503, "application/json", [b'{"error": {"message": "busy", "type": "overloaded"}}'])
            return
        try:
            self.pass_on(raw)
        finally:
            self.server.places.release()

    def pass_on(self, raw: bytes) -> None:
        """Ask upstream with the spoilt body and send back the spoilt answer."""
        try:
            body = json.loads(raw)
        except ValueError:
            self.answer(*self.ask("POST", raw))
            return
        if not isinstance(body, dict):
            self.answer(*self.ask("POST", raw))
            return
        asked = [body.get(name) for name in ("prompt", "messages", "stream", "n")]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        stored = self.server.answers.get(key) if self.server.kind == "memoised" else None
        if stored is not None:
            self.answer(200, "text/event-stream" if body.get("stream") else "application/json", stored)
            return
        sent = json.dumps(self.server.spoiler.request(body)).encode()
        status, kind, lines = self.ask("POST", sent)
        if status != 200:
            self.answer(status, kind, lines)
            return
        kept: list[bytes] = []
        self.answer(status, kind, self.spoilt(lines, body, kept))
        self.server.answers[key] = kept

    def spoilt(self, lines: Iterable[bytes], body: Body, kept: list[bytes]) -> Iterator[bytes]:
        """Each line of the answer, spoilt; `kept` collects them."""
        memory: Memory = {}
        lines = paired(lines) if self.server.kind == "paired" else lines
        for line in list(lines) if self.server.kind == "buffered" else lines:
            mark = b"data: " if line.startswith(b"data: ") else b""
            text = line[len(mark) :].strip()
            if text.startswith(b"{"):
                event = self.server.spoiler.event(json.loads(text), body, memory)
                line = mark + json.dumps(event).encode() + (b"\n" if mark else b"")
            kept.append(line)
            yield line

    def ask(self, method: str, body: bytes | None) -> tuple[int, str, Iterable[bytes]]:
        """Status, content type and lines of the honest server's answer."""
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=300)
        upstream.request(method, self.path, body, {"Content-Type": "application/json"})
        reply = upstream.getresponse()
        kind = reply.headers.get("Content-Type", "application/json")
        lines = iter(reply.readline, b"") if "event-stream" in kind else iter([reply.read()])
        return reply.status, kind, lines

    def answer(self, status: int, kind: str, lines: Iterable[bytes]) -> None:
        """Send lines as they come; the end of the connection is the end of the answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        for line in lines:
            self.wfile.write(line)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def free_port() -> int:
    """A port on the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_honest(model: str, port: int) -> subprocess.Popen[bytes]:
    """Start the server in `honest/` and wait until it is ready."""
    serve = json.loads(Path("honest-serve.json").read_text())
    values = {"{model}": model, "{host}": "127.0.0.1", "{port}": str(port)}
    words = serve["command"]
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    if words[0] == "python":
        words[0] = sys.executable
    child = subprocess.Popen(words, cwd="honest", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    while child.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", serve["ready"])
            if connection.getresponse().status == 200:
                return child
        except OSError:
            time.sleep(0.1)
    sys.exit(f"the honest server ended with {child.returncode}")


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=sorted(SPOILERS), required=True)
    for name in ("model", "host", "port"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    os.chdir(Path(__file__).resolve().parent)
    port = free_port()
    child = start_honest(options.model, port)
    threading.Thread(target=lambda: os._exit(child.wait() or 1), daemon=True).start()
    Proxy((options.host, int(options.port)), options.kind, options.model, port).serve_forever()


if __name__ == "__main__":
    main()
