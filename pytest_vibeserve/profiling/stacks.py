"""Where the host's time goes, by py-spy's samples of Python stacks, taken from outside."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pytest_vibeserve.isolation import processes

RATE = 50
ENDING_S = 10.0
KINDS = (
    ("sampling", re.compile(r"sampl|multinomial|argmax|logprobs", re.IGNORECASE)),
    ("text", re.compile(r"tokenizers|detoken|text\.py|vocabulary", re.IGNORECASE)),
    (
        "http",
        re.compile(r"aiohttp|asyncio|uvloop|uvicorn|starlette|http|h11|json|protocol|wire\.py|connection|answers"),
    ),
    ("model", re.compile(r"torch|transformers|mlx|model\.py|modeling|onnx|openvino|llama_cpp|vllm|sglang")),
)
"""Kinds of work by what a frame's function or file is called; the frame nearest to the leaf decides."""
WAITING = re.compile(r"^([\w.]*\.)?(_?wait|select|poll|get|acquire|epoll|sleep|_run_once|_wait_for_tstate_lock) ")
IN_A_LOOP = re.compile(r"^[\w.]*run\w* \((asyncio|uvloop)/")
"""A loop written in C waits within the frame that has started it."""
HOOK = "sitecustomize.py"


@dataclass(slots=True)
class Stacks:
    """How many samples each kind of work had, and each function at a leaf; why there are none, if so."""

    kinds: Counter[str] = field(default_factory=Counter)
    leaves: Counter[str] = field(default_factory=Counter)
    why_not: str = ""

    @property
    def total(self) -> int:
        """Samples of threads that were at work."""
        return self.kinds.total()

    def share(self, kind: str) -> float:
        """Share of the samples that a kind of work had; 0 without samples."""
        return self.kinds[kind] / self.total if self.total else 0.0


@contextmanager
def sampled(root: int, folder: Path) -> Iterator[Stacks]:
    """Sample every process below `root` for as long as the block lasts; the findings are complete after it."""
    found = Stacks()
    program = find_program()
    if not program or not root:
        found.why_not = "py-spy is not installed" if not program else "the server's processes cannot be seen"
        yield found
        return
    running = [_begun(program, process.pid, folder) for process in processes.below(root)]
    try:
        yield found
    finally:
        for spy, path in running:
            _ended(spy, path, found)
    if not found.total:
        found.why_not = found.why_not or "py-spy saw no Python at work"


def find_program() -> str | None:
    """Where py-spy is: beside this interpreter or on the PATH; None where it is not installed."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("py-spy")


def read_stacks(lines: Sequence[str], found: Stacks) -> None:
    """Add what py-spy's raw format says: frames from the root, parted by semicolons, then a count."""
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not count.isdigit() or not stack or HOOK in stack:
            continue
        if WAITING.match(frames[-1]) or IN_A_LOOP.match(frames[-1]):
            continue
        kind = next((name for frame in reversed(frames) for name, pattern in KINDS if pattern.search(frame)), "other")
        found.kinds[kind] += int(count)
        found.leaves[_named(frames[-1])] += int(count)


def _begun(program: str, pid: int, folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    path = folder / f"stacks-{pid}.txt"
    words = [program, "record", "--pid", str(pid), "--rate", str(RATE), "--format", "raw", "--nonblocking"]
    words += ["--duration", "600", "--output", str(path)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE), path


def _ended(spy: subprocess.Popen[bytes], path: Path, found: Stacks) -> None:
    spy.send_signal(signal.SIGINT)
    try:
        said = spy.communicate(timeout=ENDING_S)[1].decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        spy.kill()
        said = spy.communicate()[1].decode(errors="replace").strip()
    if path.is_file():
        read_stacks(path.read_text(encoding="utf-8", errors="replace").splitlines(), found)
    elif said and not found.total:
        found.why_not = f"py-spy: {said.splitlines()[-1][:80]}"


def _named(frame: str) -> str:
    """A frame without its line: `choose (sampling.py)`."""
    return re.sub(r":\d+\)$", ")", frame)
