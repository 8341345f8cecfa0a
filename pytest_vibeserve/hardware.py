"""The machine that a target asks for: whether this is one, known before anything is made, fetched or started for it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.target import Target

NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""What a machine with a loaded CUDA driver has one of: Linux's own, a container's, and that of WSL."""

APPLE = ("darwin", "arm64")


def require_hardware(target: Target, drivers: Sequence[Path] = NVIDIA, machine: tuple[str, str] | None = None) -> None:
    """Pass over a target whose backend may be here; UsageError says what it asks for and what to type instead.

    `drivers` are the files that show a CUDA driver, `machine` the system and processor: this one's unless given.
    """
    here = machine or (sys.platform, platform.machine())
    backend = target.hardware.backend
    if backend == "cuda" and not any(path.exists() for path in drivers):
        lack = "no NVIDIA driver is loaded here"
    elif backend == "metal" and here != APPLE:
        lack = f"this is {here[0]} on {here[1]}, not macOS on Apple silicon"
    else:
        return
    asked = f"{backend} ({target.hardware.tuned_on})"
    raise UsageError(
        f"{target.name} in profile {target.profile} runs on {asked}, and {lack}: type the same command on such a "
        f"machine, or add --vibeserve-profile tiny, which two CPU cores run"
    )
