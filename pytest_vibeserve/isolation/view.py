"""What a candidate's process finds around it: its code, the model, and what it may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.isolation.interpreter import SYSTEM, Interpreter, offered

CODE = "/candidate"
MODEL = "/model"
HOOK = "/hook"
FINDINGS = "vibeserve-profile"
HOME = "/home/candidate"
NOBODY = 65534
TEMPORARY = ("/dev/shm", "/tmp", "/var/tmp", HOME)
IDENTITY = {
    "passwd": f"candidate:x:{NOBODY}:{NOBODY}:candidate:{HOME}:/bin/sh\n",
    "group": f"candidate:x:{NOBODY}:\n",
    "hosts": "127.0.0.1 localhost\n",
}
PASSED_ON = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class View:
    """The code (a private copy), the model (None while building), a private folder of the gate, and a memory limit.

    `memory` is in bytes, 0 for none; it also caps what the temporary folders may hold. `hook` is the folder of a
    profiled pass: what lies there looks on from inside and writes below the candidate's temporary folder.
    """

    code: Path
    model: Path | None
    private: Path
    memory: int = 0
    writable: bool = False
    hook: Path | None = None


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


def profiled(view: View, place: str, temporary: str) -> dict[str, str]:
    """What the environment holds besides in a profiled pass, its hook being at `place`; nothing otherwise."""
    return {"PYTHONPATH": place, "VIBESERVE_PROFILE": f"{temporary}/{FINDINGS}"} if view.hook else {}


def accelerators() -> list[Path]:
    """The device files of NVIDIA GPUs on this machine."""
    return sorted(Path("/dev").glob("nvidia*"))


def resolved(command: tuple[str, ...], interpreter: Interpreter) -> tuple[str, ...]:
    """The command with the word `python` at its head replaced by the interpreter that is offered."""
    return (str(interpreter.executable), *command[1:]) if command[0] == "python" else command


def scratch() -> str:
    """A temporary folder that starts empty: /tmp, unless the interpreter itself lies below it."""
    return "/var/tmp" if any(tree.is_relative_to("/tmp") for tree in offered().trees) else "/tmp"


def identity_files(private: Path) -> Iterator[tuple[Path, str]]:
    """Files made in the private folder that name nobody and nothing of the host, each with its place below /etc."""
    for name, text in IDENTITY.items():
        file = private / name
        file.write_text(text, encoding="ascii")
        file.chmod(0o644)
        yield file, f"/etc/{name}"


def model_mounts(folder: Path) -> Iterator[tuple[Path, str]]:
    """The folder itself, or each of its files where some are links that leave it, as in the hub's cache."""
    real = folder.resolve()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if all(path.resolve().is_relative_to(real) for path in files):
        yield real, MODEL
        return
    for path in files:
        yield path.resolve(), f"{MODEL}/{path.relative_to(folder).as_posix()}"


def hidden_folders() -> set[Path]:
    """The gate's own folders that lie in what is shown to candidates, and so have to be covered."""
    shown = (SYSTEM, *offered().trees)
    return {path for path in gate_folders() if any(path.is_relative_to(tree) for tree in shown)} - set(shown)


def gate_folders() -> set[Path]:
    """The folders of the gate itself: its packages, the repository that they lie in, and where it was started."""
    folders = {_PACKAGE, _PACKAGE.parent / "vibeserve_loop", Path.cwd()}
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        folders.add(_PACKAGE.parent)
    return {folder for folder in folders if folder.is_dir() and not _needed(folder)}


def _needed(folder: Path) -> bool:
    """Whether covering the folder would cover what the interpreter needs and what is not shown again on top of it."""
    python = offered()
    wanted = (SYSTEM, python.executable, *python.libraries)
    return any(p.is_relative_to(folder) and not any(p.is_relative_to(t) for t in python.trees) for p in wanted)
