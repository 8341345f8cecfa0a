"""A container for one command: an image with nothing in it, this machine's system and interpreter shown read-only."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import secrets
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop.machine.processes import TETHER, Finished, read_tail
from vibeserve_loop.walls.interpreter import SYSTEM, interpreter
from vibeserve_loop.walls.started import Mark, new_mark

IMAGE = "vibeserve-empty:1"
FOLDERS = ("usr", "etc", "proc", "sys", "dev", "tmp", "var", "run", "opt", "root", "home")
ENGINE_S = 60.0
GRACE_S = 20.0
MOST_PROCESSES = 2048


@dataclass(frozen=True, slots=True)
class Boxed:
    """What runs in a container: a command, its folder, what is bound (read-only unless said), and its limits."""

    command: tuple[str, ...]
    folder: Path
    writable: tuple[Path, ...]
    readable: tuple[Path, ...]
    timeout_s: float
    memory_gib: float = 0.0
    cores: tuple[int, ...] = ()
    file_gib: float = 0.0


def asked(words: Sequence[str], *, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """One short question to the engine; InfrastructureError when it does not answer in time."""
    try:
        return subprocess.run(["docker", *words], input=given, capture_output=True, timeout=ENGINE_S, check=False)
    except subprocess.TimeoutExpired:
        why = f"the container engine did not answer `docker {words[0]}` within {ENGINE_S:.0f} s"
        raise InfrastructureError(why) from None


def ensure_image() -> None:
    """Make the empty image once an engine: folders to bind onto, and the links that a merged /usr needs."""
    if asked(["image", "inspect", IMAGE]).returncode == 0:
        return
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in FOLDERS:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            if Path("/", name).is_symlink():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(Path("/", name))
                archive.addfile(entry)
    done = asked(["import", "-", IMAGE], given=buffer.getvalue())
    if done.returncode != 0:
        why = done.stderr.decode("utf-8", "replace").strip()
        raise InfrastructureError(f"the container engine made no image: {why}")


def boxed(box: Boxed) -> Finished:
    """Run to the end; the container goes with its command, past the limit, and when this program is killed.

    The command's parent in there is a tether that holds the container's standard input: the engine closes it when the
    client that started the container is gone, for whatever reason.
    """
    ensure_image()
    name, mark, began = f"vibeserve-{secrets.token_hex(8)}", new_mark(), time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            _words(box, name, mark), stdin=subprocess.PIPE, stdout=output, stderr=errors, start_new_session=True
        )
        timed_out = False
        if box.file_gib and sys.platform == "linux":
            # What is written inside comes out by the client's hand.
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (int(box.file_gib * 2**30),) * 2)
        try:
            process.wait(box.timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _end(process, name)
        wall_s = time.monotonic() - began
        done = Finished(process.returncode, read_tail(output), read_tail(errors), wall_s, timed_out)
        return mark.told(done, "the container engine")


def _end(process: subprocess.Popen[bytes], name: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        asked(["rm", "--force", name])
        process.kill()
        process.wait()


def _words(box: Boxed, name: str, mark: Mark) -> list[str]:
    words = ["docker", "run", "--rm", "--interactive", "--name", name, "--label", "vibeserve-loop"]
    words += ["--network", "none", "--read-only", "--tmpfs", "/tmp:exec,mode=1777", "--cap-drop", "ALL"]
    words += ["--security-opt", "no-new-privileges", "--pids-limit", str(MOST_PROCESSES), "--log-driver", "none"]
    words += ["--user", f"{os.getuid()}:{os.getgid()}", "--workdir", str(box.folder)]
    words += ["--memory", f"{int(box.memory_gib * 2**20)}k"] if box.memory_gib else []
    words += ["--ulimit", f"fsize={int(box.file_gib * 2**30)}"] if box.file_gib else []
    words += ["--cpuset-cpus", ",".join(map(str, box.cores))] if box.cores else []
    for variable in (f"PATH={os.environ.get('PATH', os.defpath)}", "LC_ALL=C.UTF-8", "HOME=/tmp"):
        words += ["--env", variable]
    for path in (*_system(), *map(str, box.readable), str(TETHER)):
        words += ["--mount", f"type=bind,source={path},target={path},readonly"]
    for place in box.writable:
        words += ["--mount", f"type=bind,source={place},target={place}"]
        if (place / ".git").exists():
            words += ["--mount", f"type=bind,source={place / '.git'},target={place / '.git'},readonly"]
    tether = (sys.executable, "-I", "-S", "-B", str(TETHER), "--grace", "1")
    return [*words, IMAGE, *mark.before((*tether, *box.command))]


def _system() -> list[str]:
    """What exists of the system and is no link: the links of a merged /usr are in the image."""
    found = [path for path in (*SYSTEM, *interpreter()) if Path(path).exists() and not Path(path).is_symlink()]
    inside = [path for path in found if not any(path != other and path.startswith(f"{other}/") for other in found)]
    return sorted(set(inside))
