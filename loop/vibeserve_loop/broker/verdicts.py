"""Verdicts by content: the same code, suite and machine are not judged twice; what was transient is not kept."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_vibeserve.report import write_atomically
from vibeserve_loop.machine.devices import Device, usable_cores
from vibeserve_loop.records import Assessment

LASTING = ("accepted", "rejected")
PACKAGES = ("pytest-vibeserve", "torch", "transformers", "numpy")


class Key(BaseModel):
    """What a verdict depends on; `seeds` names the rule by which prompts are drawn, not a seed.

    `device` is what was measured on; before that is known a question is asked for each that may be lent.
    """

    model_config = ConfigDict(frozen=True)

    tree: str
    rival: str
    suite: str
    environment: str
    depth: Literal["quick", "full"]
    seeds: str = "fresh"
    device: str = ""

    @property
    def name(self) -> str:
        """The key as one digest."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Verdicts:
    """A folder of verdicts, one file each, named by the digest of what they depend on."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which need not exist."""
        self._folder = folder

    def get(self, key: Key) -> Assessment | None:
        """The verdict for this key; None when there is none, or when its file is not whole."""
        try:
            return Assessment.model_validate_json(self._file(key).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def put(self, key: Key, found: Assessment) -> bool:
        """Keep a verdict if it says something about the code, and all that was asked; whether it was kept."""
        if spoiled(found, against=bool(key.rival)):
            return False
        write_atomically(self._file(key), found.model_dump_json() + "\n")
        return True

    def _file(self, key: Key) -> Path:
        return self._folder / key.name[:2] / f"{key.name}.json"


def spoiled(found: Assessment, *, against: bool) -> str:
    """What of an assessment is the machine's doing and may be otherwise next time, or ""."""
    if found.outcome not in LASTING:
        return found.reason or found.outcome
    compared = found.comparison
    if found.outcome == "accepted" and against and compared is None:
        return "the gate made no comparison with the base"
    if compared is not None and compared.dropped and not compared.pairs:
        return f"the machine was too busy: all {compared.dropped} pairs were dropped"
    return ""


def place_of(device: Device | None) -> str:
    """What was measured on: the cores and GPUs that were lent, else those that this process may use."""
    found = device or Device()
    cores = found.cores or tuple(sorted(usable_cores()))
    gpus = found.gpus or (os.environ.get("CUDA_VISIBLE_DEVICES", "all"),)
    return f"cores {','.join(map(str, cores))} gpus {','.join(gpus)}"


def environment_of(command: Iterable[str] = ()) -> str:
    """A digest of what a measurement depends on besides code and suite: machine, interpreter, packages, gate."""
    # What reads packages' versions is large, and many a run never asks.
    from importlib import metadata

    facts = [platform.platform(), platform.machine(), platform.node(), str(os.cpu_count()), sys.version, *command]
    for name in PACKAGES:
        try:
            facts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            facts.append(f"{name} -")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
