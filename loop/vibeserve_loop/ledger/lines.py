"""A file of records, one a line, that is only added to; a line that was torn is not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from pytest_vibeserve.errors import UsageError

Record = TypeVar("Record", bound=BaseModel)


class Lines(Generic[Record]):
    """The records of one kind in one file, which has one writer."""

    def __init__(self, path: Path, kind: type[Record]) -> None:
        """Take the file, which may be missing, and what a line is."""
        self.path = path
        self._kind = kind

    def read(self) -> tuple[Record, ...]:
        """The lines that are whole; UsageError when one of them is no such record."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        try:
            return tuple(self._kind.model_validate_json(line) for line in data.split(b"\n")[:-1])
        except ValidationError as error:
            raise UsageError(f"{self.path} is damaged: {str(error).splitlines()[0]}; remove it") from None

    def add(self, record: Record) -> None:
        """Add one line, in place of a torn one, on disk before this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            whole = self.path.read_bytes().rpartition(b"\n")[0]
            end = len(whole) + 1 if whole else 0
            os.ftruncate(handle, end)
            os.pwrite(handle, record.model_dump_json().encode() + b"\n", end)
            os.fsync(handle)
        finally:
            os.close(handle)
