"""What one gate starts and stops: the candidate's server, its rival's, their benches, the Judge."""

from __future__ import annotations

import fcntl
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_vibeserve.bench import Bench, Contract, Record, Served
from pytest_vibeserve.candidate import load_candidate, stated_needs, tree_digest
from pytest_vibeserve.errors import CandidateFailure, InfrastructureError
from pytest_vibeserve.evaluator import Evaluator, Rival
from pytest_vibeserve.judge import prepared
from pytest_vibeserve.modalities import Judging, judge_of, text_judge, wire_of
from pytest_vibeserve.placement import make_room
from pytest_vibeserve.profiling.nsight import nsight_command
from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.report import Check
from pytest_vibeserve.scan import Suspicion, scan
from pytest_vibeserve.server import ExternalServer, Launch, Server
from pytest_vibeserve.settings import Settings
from pytest_vibeserve.shared_server import SharedServer
from pytest_vibeserve.workload import Secret, Vocabulary, shaping

STRICT_URL = "a server that already runs is not isolated: give its folder with --vibeserve-candidate DIR"


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a controller hands to its workers so that all of them use one server and one secret."""

    secret: str
    lock: str
    server: SharedServer | None
    failure: tuple[str, str, str] | None

    def text(self) -> str:
        """As text that crosses processes."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Sharing:
        """Back from such a text."""
        said = json.loads(text)
        server = SharedServer(**said["server"]) if said["server"] else None
        return cls(said["secret"], said["lock"], server, tuple(said["failure"]) if said["failure"] else None)


class Session:
    """Starts things when they are first asked for, and stops all of them in `close`."""

    def __init__(self, settings: Settings, record: Callable[[Record], None], shared: Sharing | None = None) -> None:
        """Nothing is started yet; with `shared`, the server is another process's."""
        self._settings, self._record, self._shared = settings, record, shared
        self.secret = Secret(shared.secret) if shared else Secret()
        self._stack = ExitStack()
        self._deadline = time.monotonic() + settings.target.limits.wall_s
        self._failure: CandidateFailure | None = None
        self._served: list[Server] = []
        if shared and shared.failure:
            self._failure = CandidateFailure(*shared.failure)

    def share(self) -> Sharing:
        """Start the server and say how workers reach it; a server that does not start is theirs to report."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vibeserve-"))
        lock = Path(folder) / "turns.lock"
        lock.touch()
        try:
            server = self.server
        except CandidateFailure as fault:
            return Sharing(self.secret.value, str(lock), None, (fault.check, fault.message, fault.example))
        assert isinstance(server, Server | ExternalServer)
        return Sharing(self.secret.value, str(lock), server.shared(), None)

    @cached_property
    def contract(self) -> Contract:
        """The shared ground of every check; makes the model on first use."""
        target = self._settings.target
        model = model_folder(target)
        vocabulary = Vocabulary(model)
        wire = wire_of(target, vocabulary, model)
        depth = self._settings.depth
        return Contract(target, model, vocabulary, self.secret, wire, depth, self._deadline, wire_of)

    @property
    def server(self) -> Served:
        """The candidate's server; one that failed to start fails the same way for everybody who asks."""
        if self._failure:
            raise self._failure
        try:
            return self._server
        except CandidateFailure as failure:
            self._failure = failure
            raise

    @cached_property
    def _server(self) -> Served:
        if self._shared and self._shared.server:
            return self._shared.server
        if self._settings.url and self._settings.strict:
            raise InfrastructureError(f"strict: {STRICT_URL}")
        if self._settings.url:
            return self._stack.enter_context(ExternalServer(self._settings.url))
        assert self._settings.candidate is not None
        return self._started(self._settings.candidate, self._settings.server_log)

    @contextmanager
    def _again(self, model: Path, hook: Path | None = None) -> Iterator[Served]:
        """The candidate once more; where an accelerator has no room for two, the first stops and is started again."""
        folder = self._settings.candidate
        assert folder is not None
        first = self.__dict__.get("_server") if self._settings.target.hardware.backend != "cpu" else None
        with ExitStack() as afterwards:
            if isinstance(first, Server):
                first.stop()
                afterwards.callback(self._revive, folder)
            server = self._start(folder, model, None, hook)
            afterwards.callback(server.stop)
            yield server

    def _revive(self, folder: Path) -> None:
        log = self._settings.server_log
        self.__dict__["_server"] = self._started(folder, log and log.with_stem(f"{log.stem}-again"))

    def _started(self, folder: Path, log: Path | None) -> Server:
        server = self._start(folder, self.contract.model, log)
        self._stack.callback(server.stop)
        return server

    def _start(self, folder: Path, model: Path, log: Path | None, hook: Path | None = None) -> Server:
        limits = self._settings.target.limits
        candidate = load_candidate(folder)
        if log is None:
            scratch = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vibeserve-log-"))
            log = Path(scratch) / "server.log"
        isolation = "strict" if self._settings.strict else "auto"
        wrapper = nsight_command(self._settings.target.hardware.backend) if hook else ()
        launch = Launch(
            startup_s=limits.startup_s, memory_gib=limits.memory_gib, log=log, isolation=isolation, hook=hook,
            wrapper=wrapper,
        )  # fmt: skip
        server = Server.start(candidate, model, launch=launch)
        if folder == self._settings.candidate:
            self._served.append(server)
        return server

    @cached_property
    def bench(self) -> Bench:
        """The bench of the candidate."""
        bench = self._bench(self.server, self._record)
        if self.contract.target.modality == "text" and not self._settings.url:
            bench.notice_idling()
        return bench

    def _bench(self, server: Served, record: Callable[[Record], None]) -> Bench:
        is_rival = server is not self.__dict__.get("_server")
        launch = self._again if self._settings.candidate else None
        bench = Bench(self.contract, server, record, launch, None if is_rival else lambda: self.server)
        self._stack.callback(bench.close)
        return bench

    @cached_property
    def judge(self) -> Judging:
        """The Judge of the candidate's answers; that of text reads its reference while the candidate starts."""
        contract = self.contract
        if contract.target.modality != "text":
            return judge_of(self.bench, contract.model)
        if self._settings.candidate and not self._shared:
            load_candidate(self._settings.candidate)
        reading = self._stack.enter_context(ThreadPoolExecutor(1)).submit(
            prepared, contract.model, contract.target, contract.vocabulary, contract.depth
        )
        if shaping(contract.target):
            # A target's own workload may use the model too, and Transformers is not to be imported by two threads.
            wait([reading])
        sampling = max(self.suspicion.sampling, self._settings.sampling)
        return text_judge(self.bench, contract.model, reading.result, sampling)

    @cached_property
    def rival(self) -> Rival | None:
        """The baseline on a bench of its own, paused until its turn; None when there is none."""
        folder = self._settings.baseline
        if folder is None:
            return None
        make_room()
        try:
            server = self._started(folder, None)
        except CandidateFailure as failure:
            told = f"the baseline {folder.name} does not serve: {failure}{stated_needs(folder)}"
            raise InfrastructureError(told) from failure
        bench = self._bench(server, lambda record: None)
        return Rival(bench, folder.name, tree_digest(folder), self._settings.alpha)

    @contextmanager
    def judging(self) -> Iterator[Judging]:
        """The Judge, beside other workers that judge."""
        with self._turn(fcntl.LOCK_SH):
            yield self.judge

    @contextmanager
    def evaluating(self, benchmark: Any) -> Iterator[Evaluator]:
        """An Evaluator that has the server to itself; pytest-benchmark's fixture may be None."""
        with self._turn(fcntl.LOCK_EX):
            yield Evaluator(self.bench, self.judge, self.rival, benchmark, looks_inside=self._settings.looks_inside)

    @contextmanager
    def _turn(self, kind: int) -> Iterator[None]:
        if self._shared is None:
            yield
            return
        with open(self._shared.lock, "rb") as lock:
            fcntl.flock(lock, kind)
            yield

    @cached_property
    def suspicion(self) -> Suspicion:
        """What stands out in the candidate's source; `suspicion.sampling` says how many times as much to audit."""
        folder = self._settings.candidate
        if folder is None:
            return Suspicion()
        build = load_candidate(folder).build
        return scan(folder, build.command if build else ())

    def last_checks(self) -> Iterator[Check]:
        """What is known once everything is stopped: what stood out in the source, and what was left behind."""
        if self._served:
            yield self.suspicion.check
            left = [name for server in self._served for name in server.stop()]
            detail = "; ".join(left[:5]) if left else "nothing of the candidate outlived it, and its files are the same"
            yield Check(
                name="residue", result="fail" if left else "pass", statistic=len(left), threshold=0, detail=detail
            )

    @property
    def isolation(self) -> str:
        """How the candidate is kept apart, in words; "not started" when it never ran."""
        return self._server.isolation if "_server" in self.__dict__ else "not started"

    def close(self) -> None:
        """Stop everything that was started, the last first."""
        self._stack.close()
