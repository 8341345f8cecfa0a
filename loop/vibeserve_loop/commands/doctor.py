"""What this machine has, what is missing, and how to get it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pytest_vibeserve.errors import ExitCode
from vibeserve_loop import resolve
from vibeserve_loop.foreign import is_there

EXTRAS = {
    "torch": ("torch", "transformers", "safetensors", "tokenizers", "aiohttp"),
    "agents": ("pydantic_ai", "anthropic", "openai"),
    "acp": ("acp",),
    "mcp": ("mcp",),
    "deepagents": ("deepagents", "langchain_anthropic", "langchain_openai"),
    "ray": ("ray",),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "json": ("llguidance", "jsonschema"),
    "asr": ("jiwer", "aiohttp", "soundfile"),
    "image": ("PIL",),
    "mlx": ("mlx", "mlx_lm"),
    "docker": ("docker",),
    "modal": ("modal",),
}
LEAST_DISK_GIB, LEAST_MEMORY_GIB = 4.0, 4.0


class Finding(BaseModel):
    """One thing that was looked at; `needed` means that nothing runs without it."""

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = False


def examine(*, as_json: bool) -> ExitCode:
    """Print every finding; INFRASTRUCTURE when something needed is missing."""
    findings = [*_programs(), *_sandboxes(), _isolation(), *_sizes(), *_extras()]
    lacking = [finding for finding in findings if finding.needed and not finding.ok]
    if as_json:
        sys.stdout.write(json.dumps({"ok": not lacking, "findings": [f.model_dump() for f in findings]}) + "\n")
    else:
        for finding in findings:
            mark = "ok     " if finding.ok else "MISSING" if finding.needed else "absent "
            fix = f"; to mend: {finding.fix}" if finding.fix and not finding.ok else ""
            sys.stdout.write(f"{mark} {finding.name}: {finding.found}{fix}\n")
    return ExitCode.INFRASTRUCTURE if lacking else ExitCode.ACCEPTED


def _programs() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    modern = sys.version_info >= (3, 11)
    yield Finding(name="python", ok=modern, found=f"{version}, {sys.executable}", fix="use Python 3.11+", needed=True)
    yield _program("git", ("git", "--version"), "apt-get install git", needed=True)
    compiler = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), "c++")
    yield _program("compiler", (compiler, "--version"), "apt-get install g++ (without it, no recipe that compiles)")


def _program(name: str, command: tuple[str, ...], fix: str, *, needed: bool = False) -> Finding:
    if shutil.which(command[0]) is None:
        return Finding(name=name, ok=False, found=f"{command[0]} is not on PATH", fix=fix, needed=needed)
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    said = (done.stdout + done.stderr).strip().splitlines()
    return Finding(name=name, ok=done.returncode == 0, found=said[0] if said else "", fix=fix, needed=needed)


def _sandboxes() -> Iterator[Finding]:
    for name in resolve.names("sandboxes"):
        obstacle = resolve.obstacle(name)
        found, _, fix = obstacle.partition("; ")
        yield Finding(name=f"sandbox {name}", ok=not obstacle, found=found or "works", fix=fix)


def _isolation() -> Finding:
    """Ask the gate's own probe, as a process, how well it can shut a candidate in."""
    command = [sys.executable, "-m", "pytest_vibeserve.isolation"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    name = "isolation of candidates"
    try:
        said = json.loads(done.stdout)
    except ValueError:
        complaint = (done.stderr.strip() or "no answer").splitlines()[-1]
        return Finding(name=name, ok=False, found=complaint, fix="reinstall pytest-vibeserve")
    if said["available"]:
        return Finding(name=name, ok=True, found=said["label"])
    fix = f"{said['how_to_get']}; until then verdicts say unisolated, and with --vibeserve-strict there are none"
    return Finding(name=name, ok=False, found=f"{said['label']}: {said['why_not']}", fix=fix)


def _sizes() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding(name="cores", ok=cores >= 2, found=str(cores), fix="2 or more: the load client needs one of them")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    fix = f"{LEAST_MEMORY_GIB:.0f} GiB or more"
    yield Finding(name="memory", ok=memory >= LEAST_MEMORY_GIB, found=f"{memory:.1f} GiB", fix=fix)
    for name, path in (("disk for runs", Path.cwd()), ("disk for models", Path.home())):
        free = shutil.disk_usage(path).free / 2**30
        fix = f"free {LEAST_DISK_GIB:.0f} GiB"
        yield Finding(name=name, ok=free >= LEAST_DISK_GIB, found=f"{free:.1f} GiB free at {path}", fix=fix)


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        absent = [name for name in modules if not is_there(name)]
        found = f"{', '.join(absent)} not importable" if absent else ", ".join(modules)
        yield Finding(name=f"extra {extra}", ok=not absent, found=found, fix=f"pip install 'pytest-vibeserve[{extra}]'")
