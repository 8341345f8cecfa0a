"""The process between the gate and a candidate: it starts it, keeps its log, and leaves nothing of it behind.

The gate writes one `Errand` to its standard input and holds that open; when it closes, because the gate let go or was
killed, everything is killed. `Event`s go to standard output. It imports the standard library only.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pytest_vibeserve.isolation import processes
from pytest_vibeserve.isolation.cgroup import control_group
from pytest_vibeserve.isolation.confine import adopt_orphans, confine, most_processes
from pytest_vibeserve.isolation.errand import Errand, Event
from pytest_vibeserve.isolation.network import enter_network, wait_until_ready
from pytest_vibeserve.isolation.seccomp import kernel_filter
from pytest_vibeserve.source_tree import remove_tree

KEEP: Final = b"k"
LOG_LIMIT = 16 << 20
STATUS_FD = "STATUS_FD"
FILTER_FD = "FILTER_FD"
_LOOK_S = 1.0
_AFTERWARDS_S = 30.0
_BLOCK = 1 << 16


class Supervisor:
    """One candidate under watch, from its start until the gate lets go."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._log = os.open(errand.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._room = LOG_LIMIT
        self._output, self._their_output = os.pipe()
        self._status, self._their_status = os.pipe()
        self._finished_setting_up = not errand.isolated
        self._told = b""
        self._root = 0
        self._first: processes.Process | None = None
        self._group = (
            control_group(f"vibeserve-{os.getpid()}", errand.memory, most_processes()) if errand.hard else None
        )
        self._main: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._reason = ""
        self._keep = False
        self._held = True

    def run(self) -> None:
        """Start, watch until both the candidate has ended and the gate has let go, and clean up."""
        adopt_orphans()
        woken = self._wake_on_signals()
        with selectors.DefaultSelector() as selector:
            for descriptor in (0, self._output, self._status, woken):
                selector.register(descriptor, selectors.EVENT_READ)
            self._start()
            while self._held:
                for key, _ in selector.select(_LOOK_S if self._main else None):
                    self._read(key.fd, selector)
                self._look()
        self._kill_all()
        if self._group:
            self._group.remove()
        if self._errand.afterwards:
            self._run_afterwards(self._errand.afterwards)
        if self._errand.remove and not self._keep:
            remove_tree(Path(self._errand.remove))

    def _run_afterwards(self, command: tuple[str, ...]) -> None:
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, env=self._environment(), capture_output=True, timeout=_AFTERWARDS_S, check=False)

    def _wake_on_signals(self) -> int:
        """A descriptor that turns readable when a child ends; signals that would end this process are only noted."""
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        return woken

    def _start(self) -> None:
        errand = self._errand
        told = {STATUS_FD: self._their_status} if STATUS_FD in errand.argv else {}
        if FILTER_FD in errand.argv:
            told[FILTER_FD] = _in_memory(kernel_filter())
        try:
            child = subprocess.Popen(
                [str(told.get(word, word)) for word in errand.argv],
                stdin=subprocess.DEVNULL,
                stdout=self._their_output,
                stderr=self._their_output,
                pass_fds=list(told.values()),
                cwd=errand.folder,
                env=self._environment(),
                start_new_session=True,
                preexec_fn=lambda: confine(errand, self._group),
            )
        except (OSError, subprocess.SubprocessError) as error:
            tell(Event("broken", text=f"{errand.argv[0]} could not be started: {error}"))
            return
        finally:
            os.close(self._their_output)
            os.close(self._their_status)
        self._child, self._main = child, child.pid
        if not errand.isolated:
            self._started(child.pid, os.getpid())

    def _environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self._errand.environment)

    def _started(self, pid: int, root: int) -> None:
        self._root, self._first = root, processes.table().get(root)
        tell(Event("started", pid=pid))
        if self._errand.port and os.fork() == 0:
            poll_and_exit(self._errand, pid)

    def _read(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        data = os.read(descriptor, _BLOCK)
        if descriptor == 0:
            self._keep = self._keep or KEEP in data
            self._held = bool(data)
        elif descriptor == self._output:
            self._write(data)
        elif descriptor == self._status:
            self._hear(data)
        if not data:
            selector.unregister(descriptor)

    def _write(self, data: bytes) -> None:
        kept = data[: self._room]
        if kept:
            os.write(self._log, kept)
            self._room -= len(kept)
            if not self._room:
                os.write(self._log, b"\n[what was written after this was not kept]\n")

    def _hear(self, data: bytes) -> None:
        """What the sandbox says: the pid of its namespace's first process, that its setting up succeeded, a reason."""
        self._told += data
        *lines, self._told = self._told.split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "child-pid" in said:
                self._started(said["child-pid"], said["child-pid"])
            self._finished_setting_up = self._finished_setting_up or "exit-code" in said
            self._reason = self._reason or said.get("reason", "")

    def _look(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._main:
                    self._main = None
                    self._ended(os.waitstatus_to_exitcode(ended[1]))
        if self._main and self._root and not self._reason:
            self._reason = self._excess(self._errand)
            if self._reason:
                self._kill_sandbox()

    def _excess(self, errand: Errand) -> str:
        """What the candidate takes too much of, in words, or ""."""
        found = processes.below(self._root)
        threads = sum(process.threads for process in found)
        if threads > most_processes():
            return f"it had {threads} processes and threads, the limit is {most_processes()}"
        stored = processes.stored_bytes(self._root, errand.temporary)
        if not errand.memory or sum(process.resident for process in found) + stored <= errand.memory:
            return ""
        held = processes.held_bytes(self._root, errand.temporary)
        return _too_much(held, errand.memory) if held > errand.memory else ""

    def _kill_sandbox(self) -> None:
        """End the namespace's first process, with which all the others go, and what started it."""
        first, now = self._first, processes.table()
        if self._errand.isolated and first and first.pid in now and now[first.pid].started == first.started:
            processes.send(signal.SIGKILL, [first])
        if self._main:
            os.kill(self._main, signal.SIGKILL)

    def _ended(self, code: int) -> None:
        self._kill_all()
        os.set_blocking(self._output, False)
        os.set_blocking(self._status, False)
        with suppress(BlockingIOError):
            while data := os.read(self._output, _BLOCK):
                self._write(data)
        with suppress(BlockingIOError):
            self._hear(os.read(self._status, _BLOCK))
        if self._group and not self._reason and self._group.out_of_memory():
            self._reason = _too_much(self._errand.memory, self._errand.memory)
        if not self._finished_setting_up and not self._reason:
            tell(Event("broken", status=code, text="the sandbox could not be set up, or was killed from outside"))
        else:
            tell(Event("ended", status=code if code >= 0 else 128 - code, text=self._reason))

    def _kill_all(self) -> None:
        """Kill until there is no child left: orphans become children of this process."""
        self._kill_sandbox()
        with suppress(ChildProcessError):
            while True:
                children = [process for process in processes.table().values() if process.parent == os.getpid()]
                processes.send(signal.SIGKILL, children)
                os.waitpid(-1, 0)


def _too_much(held: int, limit: int) -> str:
    return f"it held {held / 2**30:.2f} GiB of memory, the limit is {limit / 2**30:.2f}"


def _in_memory(data: bytes) -> int:
    """A descriptor to read these bytes from."""
    made = os.memfd_create("filter")
    os.write(made, data)
    os.lseek(made, 0, os.SEEK_SET)
    return made


def poll_and_exit(errand: Errand, pid: int) -> None:
    """In a process of its own: tell once whether the server below `pid` became ready in time."""
    deadline = time.monotonic() + errand.ready_within_s
    try:
        if errand.isolated:
            enter_network(pid)
        answer = wait_until_ready(errand.port, errand.route, deadline)
        tell(Event("unready", text=answer) if answer else Event("ready"))
    except (FileNotFoundError, ProcessLookupError):
        pass  # the candidate has ended already, which is told by the one who waits for it
    except OSError as error:
        tell(Event("broken", text=f"the sandbox's network could not be entered: {error}"))
    finally:
        os._exit(0)


def tell(event: Event) -> None:
    """Write an event to standard output; when nobody listens any more there is nobody to tell."""
    with suppress(BrokenPipeError):
        os.write(1, event.to_line())


def main() -> None:
    """Read the errand from standard input and carry it out."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(0, _BLOCK)
        if not data:
            sys.exit("no errand was given")
        line += data
    Supervisor(Errand.from_line(line)).run()
