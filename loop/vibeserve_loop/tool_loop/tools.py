"""What a model may do at its desk: read, edit, write, list, search, run, ask the gate; answers are bounded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vibeserve_loop.broker.link import Link, told
from vibeserve_loop.machine.processes import Finished
from vibeserve_loop.roles import Desk, Job

KEPT_CHARACTERS = 24_000
KEPT_LINES = 400
LARGEST_FILE = 2_000_000
RUN_S = 600.0
WAIT_S = 45.0


class Refusal(Exception):
    """A tool was asked for what it does not do; the message goes back to the model."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of one session; `left_s` gives the seconds that the session still has."""

    desk: Desk
    link: Link | None
    left_s: Callable[[], float]

    def read(self, path: str, first_line: int = 1, lines: int = KEPT_LINES) -> str:
        """Read a text file of the workspace, with line numbers."""
        found = self._text(self._place(path)).splitlines()
        start, count = max(1, first_line), min(max(1, lines), KEPT_LINES)
        part = found[start - 1 : start - 1 + count]
        told = "\n".join(f"{number}\t{line}" for number, line in enumerate(part, start))
        rest = len(found) - (start - 1 + len(part))
        return shortened(told) + (f"\n[{rest} more lines]" if rest > 0 else "")

    def write(self, path: str, text: str) -> str:
        """Write a whole file of the workspace, making the folders above it."""
        place = self._place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return f"wrote {len(text.splitlines())} lines to {path}"

    def edit(self, path: str, old: str, new: str) -> str:
        """Replace the one place in a file that reads `old`; it must occur exactly once."""
        place = self._place(path)
        text = self._text(place)
        if not old or text.count(old) != 1:
            raise Refusal(f"`old` occurs {text.count(old) if old else 0} times in {path}; give text that occurs once")
        place.write_text(text.replace(old, new), encoding="utf-8")
        return f"edited {path}"

    def list(self, path: str = ".") -> str:
        """List the files below a folder of the workspace, with their sizes in bytes."""
        top = self._place(path)
        if not top.is_dir():
            raise Refusal(f"{path} is no folder")
        lines = []
        for folder, names, files in os.walk(top):
            names[:] = sorted(name for name in names if name not in (".git", "__pycache__"))
            for name in sorted(files):
                file = Path(folder, name)
                lines.append(f"{file.lstat().st_size}\t{file.relative_to(self.desk.folder.resolve())}")
        return shortened("\n".join(lines)) or "no files"

    def search(self, pattern: str, path: str = ".") -> str:
        """Search files of the workspace for an extended regular expression, as `grep -rnE` does."""
        place = self._place(path).relative_to(self.desk.folder.resolve())
        command = ("grep", "-rnIE", "--exclude-dir=.git", "-e", pattern, "--", str(place))
        done = self._ran(command, 30.0)
        return shortened(done.output) or (done.errors.strip() if done.code > 1 else "no match")

    def run(self, command: str, timeout_s: float = 120.0) -> str:
        """Run a shell command in the workspace, in the sandbox, without a network; it ends with all its children."""
        done = self._ran(("sh", "-c", command), min(max(1.0, timeout_s), RUN_S))
        ended = "stopped at its time limit" if done.timed_out else f"exit {done.code}"
        said = f"{shortened(done.output)}\n{shortened(done.errors, KEPT_CHARACTERS // 4)}"
        return f"{ended} after {done.wall_s:.1f} s\n{said}"

    def gate(self, depth: str = "quick") -> str:
        """Ask the gate about the workspace as it is now (depth `quick` or `full`) and wait for its answer."""
        if self.link is None:
            raise Refusal("there is no gate to ask in this session")
        ticket = self.link.start(depth)
        while ticket.state in ("queued", "running") and self.left_s() > WAIT_S:
            ticket = self.link.status(ticket.id, WAIT_S)
        return told(ticket)

    def _ran(self, command: tuple[str, ...], timeout_s: float) -> Finished:
        limit = min(timeout_s, max(1.0, self.left_s()))
        return self.desk.sandbox.run(Job(command, self.desk.folder, self.desk.readable, limit))

    def _place(self, path: str) -> Path:
        top = self.desk.folder.resolve()
        place = (top / path).resolve()
        if place != top and top not in place.parents:
            raise Refusal(f"{path} is outside the workspace; give a path relative to it")
        if ".git" in place.relative_to(top).parts:
            raise Refusal(f"{path} belongs to git, which the loop keeps; edit the code only")
        return place

    def _text(self, place: Path) -> str:
        if not place.is_file():
            raise Refusal(f"{place.name} is no file; `list` shows what is there")
        if place.stat().st_size > LARGEST_FILE:
            raise Refusal(f"{place.name} is larger than {LARGEST_FILE} bytes; look at it with `run`")
        try:
            return place.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise Refusal(f"{place.name} is not text") from None


def shortened(text: str, kept: int = KEPT_CHARACTERS) -> str:
    """The head and the tail of a text that is too long, and how much lies between them."""
    if len(text) <= kept:
        return text
    return f"{text[: kept // 2]}\n[... {len(text) - kept} characters left out ...]\n{text[-kept // 2 :]}"
