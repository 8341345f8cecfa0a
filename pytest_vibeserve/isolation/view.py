"""What a candidate's process finds around it: its code, the model, and what it may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.isolation.interpreter import Interpreter

PASSED_ON = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class View:
    """The code (a private copy), the model (None while building), a private folder of the gate, and a memory limit.

    `memory` is in bytes, 0 for none; it also caps what the temporary folders may hold.
    """

    code: Path
    model: Path | None
    private: Path
    memory: int = 0
    writable: bool = False


def environment(interpreter: Interpreter, home: str, temporary: str) -> dict[str, str]:
    """The whole environment of a candidate; of the gate's own only what names an accelerator is passed on."""
    chosen = {
        "PATH": interpreter.search_path,
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if accelerators():
        chosen.update((name, os.environ[name]) for name in PASSED_ON if name in os.environ)
    return chosen


def accelerators() -> list[Path]:
    """The device files of NVIDIA GPUs on this machine."""
    return sorted(Path("/dev").glob("nvidia*"))


def resolved(command: tuple[str, ...], interpreter: Interpreter) -> tuple[str, ...]:
    """The command with the word `python` at its head replaced by the interpreter that is offered."""
    return (str(interpreter.executable), *command[1:]) if command[0] == "python" else command
