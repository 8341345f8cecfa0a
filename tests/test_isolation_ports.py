"""A port that somebody else answers on as well is never taken for the candidate's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place, eventually, fetch

from pytest_vibeserve.isolation.network import listeners
from pytest_vibeserve.isolation.processes import sockets_below

HIJACK = """
import http.server, socket, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hijacked")
    def log_message(self, *_):
        pass
class Server(http.server.HTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
server = Server(("127.0.0.1", int(sys.argv[1])), Answer)
print("listening", flush=True)
server.serve_forever()
"""
LISTEN = """
import socket
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
input()
"""
CANDIDATE = """
http.server.HTTPServer.allow_reuse_port = True
wanted, taken = {wanted!r}, {taken!r}
if not os.path.exists(taken):
    open(wanted, "w").write(sys.argv[3] + "!")
    while not os.path.exists(taken):
        time.sleep(0.01)
{then}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def hijacked(tmp_path: Path) -> Iterator[list[int]]:
    """Takes the first port that a candidate was given, beside it; the port, once it is taken."""
    wanted, taken, ports = tmp_path / "wanted", tmp_path / "taken", list[int]()
    thieves: list[subprocess.Popen[str]] = []

    def take() -> None:
        if eventually(lambda: wanted.exists() and wanted.read_text().endswith("!")):
            ports.append(int(wanted.read_text()[:-1]))
            command = [sys.executable, "-c", HIJACK, str(ports[0])]
            thieves.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert thieves[0].stdout is not None
            thieves[0].stdout.readline()
            taken.touch()

    thread = threading.Thread(target=take)
    thread.start()
    yield ports
    thread.join()
    for thief in thieves:
        thief.kill()
        thief.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="who listens is looked up in /proc")
@pytest.mark.parametrize(
    "then", ["serve()", "time.sleep(600) if sys.argv[3] + '!' == open(wanted).read() else serve()"]
)
def test_another_program_on_the_candidates_port_is_noticed(place: Place, hijacked: list[int], then: str) -> None:
    folder = place.code.parent
    place.write(CANDIDATE.format(wanted=str(folder / "wanted"), taken=str(folder / "taken"), then=then))
    (place.code / "name").write_text("the candidate")
    with place.start("none") as server:
        assert hijacked
        assert server.port != hijacked[0]
        assert fetch(server, "/name") == "the candidate"


@pytest.mark.skipif(sys.platform != "linux", reason="who listens is looked up in /proc")
def test_who_listens_is_known_by_the_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (inode,) = listeners(port)
        assert inode == os.fstat(listening.fileno()).st_ino
        assert inode not in sockets_below(os.getpid())
        with subprocess.Popen([sys.executable, "-c", LISTEN], stdin=-1, stdout=-1, text=True) as child:
            assert child.stdout is not None
            assert listeners(int(child.stdout.readline())) <= sockets_below(os.getpid())
            child.communicate("\n")
    assert listeners(port) == set()
