"""Modal: each command in a sandbox of that cloud; files go there and the folder's changes come back."""

from __future__ import annotations

import importlib
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop.machine.processes import KEPT_BYTES, Finished
from vibeserve_loop.roles import Job
from vibeserve_loop.walls.parcel import packed, replaced
from vibeserve_loop.walls.relay import endpoint_of

APP = "vibeserve-loop"
ARRIVAL, DEPARTURE = "/tmp/vibeserve-arrival.tar.gz", "/tmp/vibeserve-departure.tar.gz"
SPARE_S = 300.0
MOVE_S = 240
EXTRA = 'its library is missing; pip install "pytest-vibeserve[modal]", then `modal token new`'


class ModalSandbox:
    """Runs a command in a fresh remote sandbox, ended with it; an endpoint has to be a public name there."""

    def __init__(self, library: str = "modal", python: str = "3.11") -> None:
        """Take the module that speaks to Modal, and the Python of its image."""
        self._library, self._python = library, python

    def obstacle(self) -> str:
        """Why Modal cannot be used here: no library, or no account."""
        try:
            modal = importlib.import_module(self._library)
        except ImportError as error:
            return f"{EXTRA} ({error})"
        try:
            modal.App.lookup(APP, create_if_missing=True)
        except modal.exception.Error as error:
            return f"Modal does not let us in ({error}); `modal token new` makes an account known"
        return ""

    def run(self, job: Job) -> Finished:
        """Run there, bring the folder back, end the sandbox; InfrastructureError for all that is not the command's."""
        modal = importlib.import_module(self._library)
        began = time.monotonic()
        try:
            with self._sandbox(modal, job) as sandbox:
                self._send(sandbox, job)
                done = self._ran(modal, sandbox, job, began)
                self._fetch(sandbox, job.writable.resolve())
                return done
        except modal.exception.Error as error:
            raise InfrastructureError(f"Modal failed: {error}") from None

    @contextmanager
    def _sandbox(self, modal: Any, job: Job) -> Iterator[Any]:
        app = modal.App.lookup(APP, create_if_missing=True)
        image = modal.Image.debian_slim(python_version=self._python)
        reach = {"outbound_domain_allowlist": [endpoint_of(job.endpoint).host]} if job.endpoint else {}
        memory = {"memory": (math.ceil(job.memory_gib * 1024),) * 2} if job.memory_gib else {}
        sandbox = modal.Sandbox.create(
            app=app, image=image, timeout=math.ceil(job.timeout_s + SPARE_S), block_network=not job.endpoint,
            **reach, **memory,
        )  # fmt: skip
        try:
            yield sandbox
        finally:
            sandbox.terminate()

    def _send(self, sandbox: Any, job: Job) -> None:
        wanted = [job.writable.resolve(), *(path.resolve() for path in job.readable)]
        sandbox.filesystem.write_bytes(packed(wanted), ARRIVAL)
        self._checked(sandbox, "tar", "-xzf", ARRIVAL, "-C", "/")
        for path in job.readable:
            self._checked(sandbox, "chmod", "-R", "a-w", str(path.resolve()))

    def _ran(self, modal: Any, sandbox: Any, job: Job, began: float) -> Finished:
        command = tuple("python3" if word == sys.executable else word for word in job.command)
        limit_s, timed_out = max(1, math.ceil(job.timeout_s)), False
        process = sandbox.exec(*command, workdir=str(job.writable.resolve()), timeout=limit_s)
        try:
            code = process.wait()
        except modal.exception.ExecTimeoutError:
            code, timed_out = 137, True
        timed_out = timed_out or code == -1
        output, errors = process.stdout.read(), process.stderr.read()
        ended = 137 if code == -1 else code
        return Finished(ended, output[-KEPT_BYTES:], errors[-KEPT_BYTES:], time.monotonic() - began, timed_out)

    def _fetch(self, sandbox: Any, folder: Path) -> None:
        self._checked(sandbox, "tar", "-czf", DEPARTURE, "--exclude=./.git", "-C", str(folder), ".")
        replaced(folder, sandbox.filesystem.read_bytes(DEPARTURE))

    def _checked(self, sandbox: Any, *words: str) -> None:
        process = sandbox.exec(*words, timeout=MOVE_S)
        if process.wait() != 0:
            raise InfrastructureError(f"Modal: {words[0]} failed: {process.stderr.read()[-300:]}")
