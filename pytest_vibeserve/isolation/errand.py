"""What the gate and the supervisor of a candidate tell each other: one errand in, events out, a JSON line each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, Self


class _Line:
    """A frozen dataclass of plain values that travels as one line of JSON."""

    __slots__ = ()

    def to_line(self) -> bytes:
        """One line of JSON, its newline included."""
        return json.dumps(asdict(self)).encode() + b"\n"  # type: ignore[call-overload]

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The value that `to_line` wrote."""
        fields = json.loads(line)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


@dataclass(frozen=True, slots=True)
class Errand(_Line):
    """What to run, how it is confined, and what to watch.

    `environment` holds NAME=VALUE texts; `hard` asks for a control group if one can be made; `staged` are folders and
    files bound to /tmp/0, /tmp/1, … before `uid` is taken on; `port` 0 waits for no readiness; what lies in the
    `temporary` folders counts as memory; `afterwards` is a command for the very end; `remove` is deleted when the gate
    lets go; sizes are in bytes.
    """

    argv: tuple[str, ...]
    environment: tuple[str, ...]
    folder: str
    log: str
    isolated: bool
    hard: bool = False
    staged: tuple[str, ...] = ()
    uid: int | None = None
    port: int = 0
    route: str = "/"
    ready_within_s: float = 0.0
    memory: int = 0
    temporary: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()
    remove: str = ""


@dataclass(frozen=True, slots=True)
class Event(_Line):
    """Something that happened: a pid for `started`, a shell-style status for `ended`, words for the others."""

    name: Literal["started", "ready", "unready", "ended", "broken"]
    pid: int = 0
    status: int = 0
    text: str = ""
