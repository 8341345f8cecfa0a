"""The machine that a target asks for: whether this is one, known before anything is made, fetched or started for it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.target import Target

NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""What a machine with a loaded CUDA driver has one of: Linux's own, a container's, and that of WSL."""

APPLE = ("darwin", "arm64")

REFERENCE_DEVICE = "VIBESERVE_REFERENCE_DEVICE"
"""Environment variable with the reference's device as torch names it, such as `cuda:1` or `cpu`."""

OWN_DEVICES = ("", "cuda", "cuda:0")
NVIDIA_SMI = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
ANSWER_S = 30


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


def require_memory(target: Target, has_baseline: bool) -> None:
    """Pass over a target whose servers and reference fit one accelerator together; UsageError says what would.

    Looked at where the target states what a copy takes and the machine says what it has.  A server that sleeps keeps
    its memory; a candidate that is started again on other weights is not there twice.
    """
    hardware, here = target.hardware, _memory_gib(target.hardware.backend)
    is_apart = hardware.backend == "cuda" and os.environ.get(REFERENCE_DEVICE, "") not in OWN_DEVICES
    who = ["the candidate", *(["the baseline"] if has_baseline else []), *([] if is_apart else ["the reference"])]
    if here is None or len(who) * hardware.copy_gib <= here:
        return
    remedies = [] if is_apart or hardware.backend != "cuda" else [f"set {REFERENCE_DEVICE} to cuda:1 or cpu"]
    remedies += ["leave the baseline out"] if has_baseline else []
    remedies += ["add --vibeserve-profile tiny"]
    raise UsageError(
        f"{target.name} in profile {target.profile} takes {hardware.copy_gib:g} GiB for each of {' and '.join(who)}, "
        f"and the accelerator has {here:.0f} GiB: {', or '.join(remedies)}"
    )


def _memory_gib(backend: str) -> float | None:
    """Memory of the first card, or of the whole machine where that is shared; None where nothing says so."""
    if backend == "metal" and sys.platform == "darwin":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    if backend != "cuda" or shutil.which(NVIDIA_SMI[0]) is None:
        return None
    done = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    first = done.stdout.split()[:1]
    return float(first[0]) / 1024 if done.returncode == 0 and first and first[0].isdigit() else None
