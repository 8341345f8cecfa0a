"""The append-only record of a run: one line of `rounds.jsonl` is one round, and writing it is the commit point."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import ValidationError

from pytest_vibeserve.errors import InfrastructureError, UsageError
from vibeserve_loop.ledger.lean import Shelf
from vibeserve_loop.records import SCHEMA, Round


class History:
    """The rounds of a run, in order; `note` says what was mended when the file was read."""

    def __init__(self, path: Path, *, repair: bool) -> None:
        """Read the file, which may be missing; with `repair` a torn last line is cut off, otherwise only left out.

        `rounds` are all that are finished, the same object until the next is appended.
        """
        self.path = path
        self.note = ""
        self.rounds: tuple[Round, ...] = ()
        self._shelf = Shelf()
        self._read(repair)

    def append(self, record: Round) -> None:
        """Add one round, on disk before this returns; InfrastructureError leaves the file as it was."""
        line = record.model_dump_json(by_alias=True).encode() + b"\n"
        try:
            self._write(line)
        except OSError as error:
            raise InfrastructureError(
                f"cannot write {self.path}: {error.strerror}; nothing is lost: free some space and resume"
            ) from error
        self.rounds = (*self.rounds, self._shelf.kept(record))

    def _write(self, line: bytes) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(handle).st_size
            try:
                written = os.write(handle, line)
                while written < len(line):
                    written += os.write(handle, line[written:])
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)

    def _read(self, repair: bool) -> None:
        data = self.path.read_bytes() if self.path.is_file() else b""
        whole, _, torn = data.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        self.rounds = tuple(self._shelf.kept(self._parsed(line, number)) for number, line in enumerate(lines))
        if not torn:
            return
        self.note = f"the last line of {self.path} was torn and is dropped: round {len(self.rounds)} runs again"
        if repair:
            with self.path.open("r+b") as stream:
                stream.truncate(len(data) - len(torn))
                os.fsync(stream.fileno())

    def _parsed(self, line: bytes, number: int) -> Round:
        where = f"{self.path}:{number + 1}"
        try:
            table = json.loads(line)
            check_schema(table.get("schema"), where)
            record = Round.model_validate(table)
        except (ValueError, AttributeError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise InfrastructureError(f"{where} is damaged ({reason}); restore it from a copy") from None
        if record.round != number:
            raise InfrastructureError(f"{where} holds round {record.round}, expected {number}; restore it from a copy")
        return record


def check_schema(found: object, where: str) -> None:
    """UsageError when a file was written by a newer version."""
    if isinstance(found, int) and found > SCHEMA:
        raise UsageError(f"{where} has schema {found}, this version reads up to {SCHEMA}: update vibeserve-loop")
