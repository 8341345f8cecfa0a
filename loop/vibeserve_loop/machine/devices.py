"""What a gate measures on: core sets or GPUs of this machine, each lent to one gate at a time across all loops."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pytest_vibeserve.errors import InfrastructureError, UsageError

GPU = re.compile(r"(?:GPU|MIG)-[0-9a-fA-F][0-9a-fA-F-]+")
POLL_S = 0.05


class Device(BaseModel):
    """A part of the machine: cores by number, GPUs by UUID; neither is the machine as it is."""

    model_config = ConfigDict(frozen=True)

    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """What must be free at the same time, in the order in which it is taken."""
        return tuple(sorted([*(f"core-{core}" for core in self.cores), *self.gpus]))


class Devices:
    """The devices of one run; a lease holds a file lock for each part, so that no other loop measures there."""

    def __init__(self, devices: Sequence[Device] = (), locks: Path | None = None) -> None:
        """Take the devices, none for the whole machine unlocked, and where the machine's locks lie."""
        self._free = list(devices)
        self._known = tuple(devices)
        self._locks = locks or Path(tempfile.gettempdir(), "vibeserve-devices")
        self._changed = threading.Condition()

    @property
    def known(self) -> tuple[Device, ...]:
        """All that may be lent; empty for the machine as it is."""
        return self._known

    def __len__(self) -> int:
        return max(1, len(self._known))

    @property
    def spare(self) -> tuple[int, ...]:
        """The cores that no gate of this run is lent; none where a gate may run on all of them."""
        lent = {core for device in self._known for core in device.cores}
        return tuple(sorted(usable_cores() - lent)) if lent else ()

    @contextlib.contextmanager
    def lease(self) -> Iterator[Device | None]:
        """One device for this gate alone; waits until one is free, here and on the whole machine."""
        if not self._known:
            yield None
            return
        with contextlib.ExitStack() as held:
            device = self._taken(held)
            try:
                yield device
            finally:
                held.close()
                with self._changed:
                    self._free.append(device)
                    self._changed.notify()

    def _taken(self, held: contextlib.ExitStack) -> Device:
        while True:
            with self._changed:
                for device in self._free:
                    if self._locked(device, held):
                        self._free.remove(device)
                        return device
                self._changed.wait(POLL_S if self._free else None)

    def _locked(self, device: Device, held: contextlib.ExitStack) -> bool:
        """Lock every part, or none: in one order, so that two loops never wait for each other."""
        with contextlib.ExitStack() as mine:
            for part in device.parts:
                handle = self._opened(part)
                mine.callback(os.close, handle)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
            held.enter_context(mine.pop_all())
        return True

    def _opened(self, part: str) -> int:
        place = self._locks / part
        try:
            if not place.exists():
                self._made(place)
            # A lock needs no more than reading, which is all that files of other users allow.
            return os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InfrastructureError(f"{place} cannot be opened: {error.strerror}") from None

    def _made(self, place: Path) -> None:
        """Make the folder for everybody, and the file for everybody to read, whatever the user's umask is."""
        with contextlib.suppress(FileExistsError):
            self._locks.mkdir()
            self._locks.chmod(0o1777)
        with contextlib.suppress(FileExistsError):
            handle = os.open(place, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            os.fchmod(handle, 0o644)
            os.close(handle)


WHOLE = Devices()
"""The machine as it is, for runs that work one round after another."""


def devices_named(words: Sequence[str], backend: str) -> tuple[Device, ...]:
    """Devices as they were asked for, such as `0-3` (cores) or a GPU's UUID; none asked for is what the machine has."""
    if not words:
        return _of_machine(backend)
    found = tuple(_device(word) for word in words)
    parts = [part for device in found for part in device.parts]
    twice = next((part for part in parts if parts.count(part) > 1), None)
    if twice:
        raise UsageError(f"--device: {twice} is in two devices; two gates would share it")
    return found


def _of_machine(backend: str) -> tuple[Device, ...]:
    """Every GPU by itself for a CUDA target; otherwise all cores together, for a CPU target is tuned on the whole."""
    if backend == "cuda" and shutil.which("nvidia-smi"):
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
        names = _visible(GPU.findall(done.stdout), os.environ.get("CUDA_VISIBLE_DEVICES"))
        if names:
            return tuple(Device(gpus=(name,)) for name in names)
    return (Device(cores=tuple(sorted(usable_cores()))),)


def _visible(names: Sequence[str], wanted: str | None) -> list[str]:
    """The GPUs that the user's CUDA_VISIBLE_DEVICES leaves, by number or by the beginning of a UUID; unset is all."""
    if wanted is None:
        return list(names)
    whole = [name for name in names if name.startswith("GPU-")]
    found = []
    for word in (part.strip() for part in wanted.split(",")):
        numbered = whole[int(word) : int(word) + 1] if word.isdecimal() else []
        found += numbered or [name for name in names if word and name.startswith(word)]
    return found


def usable_cores() -> set[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _device(word: str) -> Device:
    parts = [part.strip() for part in word.split(",")]
    if all(GPU.fullmatch(part) for part in parts):
        return Device(gpus=tuple(parts))
    cores: set[int] = set()
    for part in parts:
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"--device {word!r}: give cores, as in 0-3,6, or UUIDs of GPUs (`nvidia-smi -L`)")
        cores.update(range(int(first), int(last or first) + 1))
    if strange := sorted(cores - usable_cores()):
        raise UsageError(f"--device {word!r}: core {strange[0]} is not there for this process")
    return Device(cores=tuple(sorted(cores)))
