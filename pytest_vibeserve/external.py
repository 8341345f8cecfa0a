"""A server that runs already and is reached by its address: judged as it is, outside the gate's hands."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.isolation.levels import UNISOLATED
from pytest_vibeserve.isolation.network import ask
from pytest_vibeserve.shared_server import SharedServer

_ANSWER_S = 5.0


class ExternalServer:
    """The interface of `Server` for a server that the gate neither started nor may stop; what it uses is unknown."""

    netns_pid: int | None = None
    isolation = UNISOLATED
    log: Path | None = None
    startup_s = 0.0

    def __init__(self, url: str) -> None:
        """Take the address apart; UsageError says what to write instead."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme != "http" or not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.query:
            raise UsageError(f"--vibeserve-url {url!r}: write http://HOST:PORT and nothing behind it")
        self.url = url
        self.host = parts.hostname
        self.port = port or 80

    def __enter__(self) -> Self:
        """Check that something answers there; UsageError when nothing does."""
        answer = ask(self.host, self.port, "/health", _ANSWER_S)
        if answer:
            raise UsageError(f"{self.url}: GET /health: {answer}; start the server first")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def shared(self) -> SharedServer:
        """The same server for another process of this user."""
        return SharedServer(self.host, self.port, None, self.isolation, 0)

    def alive(self) -> bool:
        """Whether its health route answers."""
        return not ask(self.host, self.port, "/health", _ANSWER_S)

    def exit_status(self) -> int | None:
        """Unknown."""
        return None

    def end_reason(self) -> str:
        """Unknown."""
        return ""

    def cpu_seconds(self) -> float | None:
        """Unknown."""
        return None

    def memory_bytes(self) -> int | None:
        """Unknown."""
        return None

    def pause(self) -> None:
        """Refused: the gate holds none of its processes."""
        raise UsageError(f"{self.url} cannot be paused: give --vibeserve-candidate a folder for what needs that")

    def resume(self) -> None:
        """Refused, as `pause`."""
        self.pause()

    def stop(self) -> tuple[str, ...]:
        """Leave it running."""
        return ()
