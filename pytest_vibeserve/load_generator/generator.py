"""The load generator as the gate sees it: a process of its own that sends requests and stamps what comes back."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Self, TypeVar

from ..errors import InfrastructureError
from .frames import Order, pack_order, unpack, unpack_traffic
from .plan import Plan, closed, opened
from .traffic import Exchange, Reply, Traffic

START_S = 60.0
GRACE_S = 60.0

Result = TypeVar("Result")

# An isolated interpreter sees neither the working folder nor PYTHONPATH, so a bare checkout is imported by its place.
BOOTSTRAP = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("pytest_vibeserve", sys.argv.pop())
package = sys.modules["pytest_vibeserve"] = module_from_spec(spec)
spec.loader.exec_module(package)
from pytest_vibeserve.load_generator.child import main
main()
"""

AGENTS = (
    "curl/8.14.1",
    "python-requests/2.32.5",
    "python-httpx/0.28.1",
    "Python/3.12 aiohttp/3.13.2",
    "OpenAI/Python 2.8.1",
    "node",
    "Go-http-client/1.1",
)


class LoadGenerator:
    """A context manager that holds the client process for one server; for one thread.

    `netns_pid` names a process whose network namespace the client joins; one that has ended is reached by nobody.
    Whatever the server does is in the replies; InfrastructureError means that the client itself failed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        netns_pid: int | None = None,
        *,
        python: Sequence[str] = (sys.executable, "-I"),
        core: int | None = None,
    ) -> None:
        """Talk to `host`:`port`; `python` starts the client's interpreter, which stays on `core` where one is given."""
        self._host, self._port = host, port
        self._netns_pid = netns_pid
        self._core = core
        self._python = tuple(python)
        # One for all who talk to this server, so that accuracy and benchmark look alike; another at its next start.
        self._agent = AGENTS[(port + (netns_pid or 0)) % len(AGENTS)]
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the process and wait until it takes orders."""
        package = Path(__file__).resolve().parent.parent / "__init__.py"
        namespace = "" if self._netns_pid is None else str(self._netns_pid)
        core = "" if self._core is None else str(self._core)
        command = [*self._python, "-c", BOOTSTRAP, str(os.getpid()), namespace, core, str(package)]
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0, cwd="/"
        )
        try:
            head, _ = self._receive(START_S)
        except BaseException:
            self.close()
            raise
        if "failure" in head:
            self.close()
            raise InfrastructureError(head["failure"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process, whatever it is doing."""
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the client."""
        return self._running().pid

    def closed(self, exchanges: Sequence[Exchange], concurrency: int, *, deadline_s: float = inf) -> Traffic:
        """Finish all exchanges, `concurrency` at a time; each slot takes the next one when its last was answered.

        A session, exchanges that come after one another, is one slot's from its first turn to its last.  The client
        stops after `deadline_s`, or else when every request has had its timeout.
        """
        return self._traffic(closed(exchanges, concurrency, deadline_s))

    def open(self, exchanges: Sequence[Exchange], *, most_in_flight: int = 0, deadline_s: float = inf) -> Traffic:
        """Send each exchange at its `at_s`, however many are still unanswered, or as soon as the cap leaves room."""
        return self._traffic(opened(exchanges, most_in_flight, deadline_s))

    def request(self, exchange: Exchange) -> Reply:
        """The reply to one exchange."""
        return self.closed([exchange], 1).replies[0]

    def close(self) -> None:
        """End the process; may be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._log):
            if stream is not None:
                stream.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise InfrastructureError("the load generator is not running")
        return self._process

    def order(self, plan: Plan, start_s: float = 0.0) -> None:
        """Have a plan carried out from `start_s` on (monotonic clock, 0: at once); `collect` gives what came of it."""
        fixed = (self._host, self._port, self._agent, plan.is_open, plan.concurrency, start_s, plan.ends_s)
        self._closing_on_failure(lambda: self._send(pack_order(Order(*fixed, plan.exchanges))))

    def collect(self, timeout_s: float) -> Traffic:
        """The traffic of the plan that was ordered last."""
        return unpack_traffic(*self._closing_on_failure(lambda: self._receive(timeout_s)))

    def _traffic(self, plan: Plan) -> Traffic:
        self.order(plan)
        return self.collect(plan.ends_s + GRACE_S)

    def _closing_on_failure(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except BaseException:
            # Half an order or half an answer on the pipe: nothing that follows would be understood.
            self.close()
            raise

    def _send(self, frame: Sequence[bytes]) -> None:
        stream = self._running().stdin
        assert stream is not None
        try:
            for piece in frame:
                view = memoryview(piece)
                while view:
                    view = view[stream.write(view) :]
        except BrokenPipeError as error:
            raise self._death() from error

    def _receive(self, timeout_s: float) -> tuple[dict[str, object], memoryview]:
        """The next frame, all of it within `timeout_s`; InfrastructureError when the process died or hangs."""
        limit = monotonic() + timeout_s
        head, block = unpack(lambda size: self._read(size, limit))
        return head, block

    def _read(self, size: int, limit: float) -> bytes:
        stream = self._running().stdout
        assert stream is not None
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        data = bytearray()
        while len(data) < size:
            if not poll.poll(1000 * max(0.0, limit - monotonic())):
                self.close()
                raise InfrastructureError("the load generator did not answer in time; is the machine overloaded?")
            piece = stream.read(min(size - len(data), 1 << 20))
            if not piece:
                raise self._death()
            data += piece
        return bytes(data)

    def _death(self) -> InfrastructureError:
        """What is known about the end of the process, as an error to raise."""
        process, log = self._running(), self._log
        code = process.wait()
        last = ""
        if log is not None:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
            last = log.read().decode(errors="replace").strip()
        self.close()
        return InfrastructureError(f"the load generator died (exit status {code}){': ' if last else ''}{last}")
