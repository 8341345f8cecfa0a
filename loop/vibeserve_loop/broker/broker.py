"""The broker: it alone has the gate while agents work; it counts, limits and queues what they ask."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_vibeserve.errors import UsageError, VibeserveError
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.source_tree import tree_digest
from vibeserve_loop.assess import Gate, gate_environment
from vibeserve_loop.broker.door import Listener
from vibeserve_loop.broker.gate_job import FOUND_FILE, JOB_FILE, GateJob
from vibeserve_loop.broker.link import LONGEST_WAIT_S, Address, Ticket, address_file
from vibeserve_loop.broker.verdicts import Key, Verdicts, environment_of, place_of, spoiled
from vibeserve_loop.broker.visits import Allowance, Depth, Question, Visit, answer_of, copied, public
from vibeserve_loop.machine.devices import WHOLE, Device, Devices
from vibeserve_loop.planning.issues import Issues
from vibeserve_loop.records import Assessment

ENTRY = (
    "import sys; from pathlib import Path; from vibeserve_loop.broker.gate_job import main, obey_parent; "
    "obey_parent(); sys.exit(main(Path(sys.argv[1])))"
)


class Broker:
    """Gates in the order of asking, `hands` at a time, each on a device that is lent to it alone."""

    def __init__(
        self, gate: Gate, home: Path, issues: Issues, devices: Devices = WHOLE, hands: int = 1, elsewhere: bool = False,
        hold: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:  # fmt: skip
        """Take the gate and a folder that no agent can reach; nothing runs before `serving`.

        `elsewhere` says that gates run on nobody knows which machine: then no verdict is kept.  `hold` is entered
        around each gate.
        """
        self.issues = issues
        self._gate, self._home, self._devices, self._hands = gate, home.resolve(), devices, hands
        self._verdicts, self._remembers = Verdicts(self._home / "verdicts"), not elsewhere
        self._suite = tree_digest(gate.target.folder, linked=True) + gate.target.profile
        self._hold = hold
        self._visits: dict[str, Visit] = {}
        self._waiting: queue.SimpleQueue[tuple[Visit, Question] | None] = queue.SimpleQueue()
        self._changed = threading.Condition(threading.RLock())
        self._listener: Listener | None = None

    @contextlib.contextmanager
    def serving(self) -> Iterator[Broker]:
        """Answer on a local socket while this lasts; a gate that still runs at its end is stopped."""
        workers = [threading.Thread(target=self._work, name="broker", daemon=True) for _ in range(self._hands)]
        for worker in workers:
            worker.start()
        with Listener(self) as self._listener:
            try:
                yield self
            finally:
                for token in tuple(self._visits):
                    self._leave(token)
                for _ in workers:
                    self._waiting.put(None)
                for worker in workers:
                    worker.join()

    @contextlib.contextmanager
    def visit(
        self, workspace: Path, rival: Path | None = None, allowance: Allowance | None = None, *, named: bool = True
    ) -> Iterator[Address]:
        """Let the session in a workspace ask; at its end nothing of it is queued or running.

        Its address lies beside the workspace, unless it is not `named`.
        """
        assert self._listener is not None, "enter `serving` first"
        token, given = secrets.token_hex(16), allowance or Allowance()
        address = Address(socket=self._listener.path, token=token)
        self._visits[token] = Visit(workspace.resolve(), rival, {"quick": given.quick, "full": given.full})
        if named:
            write_atomically(address_file(workspace), address.model_dump_json() + "\n")
            address_file(workspace).chmod(0o600)
        try:
            yield address
        finally:
            if named:
                address_file(workspace).unlink(missing_ok=True)
            self._leave(token)

    def visitor(self, token: str) -> Visit:
        """The session of that token; UsageError when it is over."""
        found = self._visits.get(token)
        if found is None:
            raise UsageError("this session at the broker is over, or never was")
        return found

    def asked(self, address: Address) -> int:
        """How many gates a session has asked for; what the cache answered or the machine spoiled is not counted."""
        questions = self.visitor(address.token).questions.values()
        lost = ("failed", "cancelled")
        cached = [q for q in questions if q.ticket.answer and q.ticket.answer.cached]
        return sum(q.counted and q.ticket.state not in lost for q in questions) - len(cached)

    def start(self, visit: Visit, depth: str) -> Ticket:
        """Take in a question about the workspace as it is now; what may not be asked is refused, not an error."""
        if depth not in ("quick", "full"):
            raise UsageError(f"depth {depth!r} is neither quick nor full")
        wanted: Depth = "full" if depth == "full" else "quick"
        number = f"{len(visit.questions) + 1:04d}-{secrets.token_hex(3)}"
        ticket = Ticket(id=number, state="queued", depth=wanted)
        folder = self._home / "questions" / number
        if why := copied(visit.workspace, folder / "candidate"):
            return self._told(visit, ticket.model_copy(update={"state": "refused", "reason": why}))
        question = Question(ticket, folder, self._key(folder / "candidate", visit.rival, wanted), visit.rival)
        with self._changed:
            known = self._known(question.key)
            if known is None and visit.left[wanted] <= 0:
                reason = f"this session's {wanted} gates are used up; end with what you have"
                return self._told(visit, ticket.model_copy(update={"state": "refused", "reason": reason}))
            visit.questions[number] = question
            if known is not None:
                self._answered(question, known, cached=True)
            else:
                visit.left[wanted] -= 1
                self._waiting.put((visit, question))
        return self._told(visit, question.ticket)

    def status(self, visit: Visit, name: str, wait_s: float) -> Ticket:
        """Where a question stands, after at most `wait_s` seconds."""
        until = time.monotonic() + min(max(0.0, wait_s), LONGEST_WAIT_S)
        with self._changed:
            question = visit.questions.get(name)
            if question is None:
                raise UsageError(f"there is no gate {name!r}; `start` gives the name of one")
            while question.ticket.state in ("queued", "running") and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._told(visit, question.ticket)

    def _known(self, key: Key) -> Assessment | None:
        """A verdict from any device that could be lent for it; with an executor nobody can say which that is."""
        if not self._remembers:
            return None
        places = [place_of(device) for device in self._devices.known] or [place_of(None)]
        found = (self._verdicts.get(key.model_copy(update={"device": place})) for place in places)
        return next((verdict for verdict in found if verdict), None)

    def _told(self, visit: Visit, ticket: Ticket) -> Ticket:
        before = [q for v in self._visits.values() for q in v.questions.values() if q.ticket.state == "running"]
        ahead = len(before) + self._waiting.qsize() - 1 if ticket.state == "queued" else 0
        left = {"quick_left": visit.left["quick"], "full_left": visit.left["full"], "ahead": max(0, ahead)}
        return ticket.model_copy(update=left)

    def _key(self, candidate: Path, rival: Path | None, depth: Depth) -> Key:
        against = tree_digest(rival) if rival else ""
        code, here = tree_digest(candidate), environment_of(self._gate.command)
        return Key(tree=code, rival=against, suite=self._suite, environment=here, depth=depth)

    def _work(self) -> None:
        while (taken := self._waiting.get()) is not None:
            visit, question = taken
            with self._changed:
                if visit.over:
                    continue
                question.ticket = question.ticket.model_copy(update={"state": "running"})
            self._settle(visit, question, *self._found(visit, question))

    def _found(self, visit: Visit, question: Question) -> tuple[Assessment | str, str]:
        """The assessment, or why there is none, and where: a device is lent and the run held, where it has to be."""
        try:
            with self._devices.lease() as device, self._hold():
                return self._judged(visit, question, device), place_of(device)
        except (VibeserveError, OSError) as error:
            return str(error), ""

    def _judged(self, visit: Visit, question: Question, device: Device | None) -> Assessment | str:
        """The assessment, or why there is none."""
        target = self._gate.target
        job = GateJob(
            target=str(target.folder), profile=target.profile, home=str(self._gate.home.resolve()),
            command=self._gate.command, strict=self._gate.strict, candidate=str(question.folder / "candidate"),
            rival=str(question.rival or ""), depth=question.ticket.depth, device=device,
            waits_s=self._gate.waits_s,
        )  # fmt: skip
        write_atomically(question.folder / JOB_FILE, job.model_dump_json() + "\n")
        with self._changed:
            if visit.over:
                return "the session is over"
            with (question.folder / "job.log").open("wb") as log:
                question.process = subprocess.Popen(
                    [sys.executable, "-P", "-B", "-c", ENTRY, str(question.folder)], cwd=question.folder,
                    env=_environment(), stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        question.process.wait()
        assert question.process.stdin is not None
        question.process.stdin.close()
        found = question.folder / FOUND_FILE
        if found.is_file():
            return Assessment.model_validate_json(found.read_bytes())
        return (question.folder / "job.log").read_text("utf-8", "replace").strip()[-600:] or "the gate was stopped"

    def _settle(self, visit: Visit, question: Question, found: Assessment | str, place: str) -> None:
        """Keep what will hold, and give the question back where the machine spoiled the answer."""
        with self._changed:
            why = found if isinstance(found, str) else spoiled(found, against=bool(question.rival))
            lost = isinstance(found, str) or found.outcome in ("infrastructure", "nothing")
            if lost or (why and not isinstance(found, str) and found.outcome == "accepted"):
                visit.left[question.ticket.depth] += 1
                question.counted = False
            if isinstance(found, Assessment) and not lost:
                if self._remembers:
                    self._verdicts.put(question.key.model_copy(update={"device": place}), found)
                self._answered(question, found, cached=False, spoiled=why)
            else:
                state = "cancelled" if visit.over else "failed"
                question.ticket = question.ticket.model_copy(update={"state": state, "reason": public(why)})
            self._changed.notify_all()

    def _answered(self, question: Question, found: Assessment, *, cached: bool, spoiled: str = "") -> None:
        reason = f"not counted: {spoiled}; ask again" if spoiled and not question.counted else ""
        update = {"state": "done", "answer": answer_of(found, cached=cached), "reason": reason}
        question.ticket = question.ticket.model_copy(update=update)
        self._changed.notify_all()

    def _leave(self, token: str) -> None:
        """Forget a session: its queued questions lapse, its running gate is stopped and waited for."""
        visit = self._visits.pop(token, None)
        if visit is None:
            return
        with self._changed:
            visit.over = True
            running = [q.process for q in visit.questions.values() if q.process is not None]
        for process in running:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.wait()
        with self._changed:
            while any(q.ticket.state == "running" for q in visit.questions.values()):
                self._changed.wait(1.0)


def _environment() -> dict[str, str]:
    """What a gate's process needs, and no key of a model's provider."""
    return {**gate_environment(), **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}}
