"""Outside a namespace: a local socket whose connections go to one endpoint, and to no other."""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.walls.doorway import pass_on

DOORWAY = Path(__file__).with_name("doorway.py")
CONNECT_S = 30.0
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model answers."""

    host: str
    port: int

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine's loopback device, so that the same address works behind a doorway."""
        return self.host in ("127.0.0.1", "localhost", "::1")


def endpoint_of(url: str) -> Endpoint:
    """The endpoint of a URL or of HOST:PORT; UsageError when it names none."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    try:
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
    if not parts.hostname or not port:
        raise UsageError(f"{url!r} is no endpoint: write HOST:PORT, or a URL")
    return Endpoint(parts.hostname, port)


@contextlib.contextmanager
def relayed(endpoint: Endpoint) -> Iterator[Path]:
    """The socket that leads to the endpoint while this lasts, alone in a folder that may be shown inside."""

    class Door(socketserver.BaseRequestHandler):
        """One connection."""

        def handle(self) -> None:
            """Connect it; whom nobody answers is hung up on."""
            with contextlib.suppress(OSError):
                outside = socket.create_connection((endpoint.host, endpoint.port), CONNECT_S)
                with outside:
                    outside.settimeout(None)
                    back = threading.Thread(target=pass_on, args=(outside, self.request), daemon=True)
                    back.start()
                    pass_on(self.request, outside)
                    back.join()

    folder = tempfile.mkdtemp(prefix="vibeserve-door-")
    with _Server(str(Path(folder, "door")), Door) as server:
        # A command may run as another user than this one.
        Path(folder).chmod(0o755)
        Path(folder, "door").chmod(0o666)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield Path(folder, "door")
        finally:
            server.shutdown()
            shutil.rmtree(folder)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


def through(door: Path, endpoint: Endpoint, command: tuple[str, ...]) -> tuple[str, ...]:
    """The command behind a doorway, for a namespace that shows the door's folder and this file's."""
    return through_doors([(door, "127.0.0.1", endpoint.port)], command)


def through_doors(doors: Sequence[tuple[Path, str, int]], command: tuple[str, ...]) -> tuple[str, ...]:
    """The command behind doors, each a socket with the address and the port that lead to it inside."""
    ways = [word for socket, address, port in doors for word in (str(socket), address, str(port))]
    return (sys.executable, "-I", "-S", "-B", str(DOORWAY), *ways, "--", *command)
