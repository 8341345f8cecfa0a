"""Kill a run at a random moment, resume it, and hold what came of it against the run that nobody disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop_lab import Lab, _environment, faster, new_lab

VICTIMS = ("engine", "everything", "agent", "gate", "git", "mid-write")
HASH_SEEDS = ("0", "1", "4242")
POLICIES = ("plain", "agent", "evolve")
MARKS = {"agent": b"recipe.py", "gate": b"fake_gate", "git": b"git\0"}
LONGEST_S = 60.0
TRIES = 4
WORKERS = 3


@dataclass(frozen=True)
class Point:
    """Which process dies in which kind of run, and the seed of everything that is drawn."""

    victim: str
    policy: str
    seed: int
    workers: int = 1

    @property
    def hash_seed(self) -> str:
        return HASH_SEEDS[self.seed % len(HASH_SEEDS)]


def points(count: int, seed: int = 0) -> list[Point]:
    """So many points, every victim and every policy as often as the others; every other turn works side by side."""
    found = []
    for number in range(count):
        turn, victim = divmod(number, len(VICTIMS))
        # A gate that is killed leaves a void round, after which other rounds are side by side than before.
        together = turn // len(POLICIES) % 2 == 1 and VICTIMS[victim] != "gate"
        found.append(Point(VICTIMS[victim], POLICIES[turn % len(POLICIES)], seed + number, WORKERS if together else 1))
    return found


def laboratory(folder: Path) -> Lab:
    """A target with five techniques: some help, one needs another, one breaks the answers, one does not apply."""
    lab = new_lab(folder)
    (lab.target / "slow").write_text("0.03")
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.skill("kernels", faster(2), relieves="step-overhead")
    lab.skill("hasty", faster(9) + '(folder / "wrong").write_text("")\n', relieves="step-overhead serial-service")
    lab.skill("house", faster(1.2), relieves="idle-cores", requires="batching")
    lab.skill("unfit", 'print("no such code", file=sys.stderr); sys.exit(3)', relieves="idle-cores")
    return lab


class Undisturbed:
    """The runs that nobody kills, one a policy, made when first asked for."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._known: dict[tuple[str, int], tuple[Path, float]] = {}

    def run(self, policy: str, workers: int = 1) -> tuple[Path, float]:
        """Its folder, and the seconds that it took."""
        if (policy, workers) not in self._known:
            folder = prepared(self._lab, f"whole-{policy}-{workers}", policy, workers)
            began = time.monotonic()
            done = subprocess.run(
                _command(folder), cwd=self._lab.folder, env=_environment(), capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            self._known[policy, workers] = folder, time.monotonic() - began
        return self._known[policy, workers]


def prepared(lab: Lab, name: str, policy: str, workers: int = 1) -> Path:
    """A run that has been asked for and not begun; all of them of one moment, so that their commits are the same."""
    settings: dict[str, Any] = {
        "schema": 1, "id": "run", "created": 1.7e9, "target": str(lab.target), "sandbox": "none", "seed": 7,
        "policy": policy, "knobs": {"patience": 4}, "max_rounds": 6, "gate_command": lab.gate[1].split(),
        "workers": workers, "devices": ["0"],
    }  # fmt: skip
    folder = lab.folder / name / "run"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(settings))
    return folder


def disturbed(lab: Lab, point: Point, duration_s: float) -> tuple[Path, str]:
    """Kill once at the point, then resume until the run is done; the folder, and what was wrong with the resuming.

    A run that was over before anything could be killed in it is begun again, with an earlier moment drawn.
    """
    draw = random.Random(f"{point.victim}/{point.policy}/{point.seed}")
    environment = {**_environment(), "PYTHONHASHSEED": point.hash_seed}
    for attempt in range(TRIES):
        folder = prepared(lab, f"killed-{point.seed}-{attempt}", point.policy, point.workers)
        process = subprocess.Popen(
            _command(folder), cwd=lab.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        killed = _kill(process, point.victim, draw, duration_s / 2**attempt)
        process.communicate(timeout=LONGEST_S)
        if killed:
            break
    else:
        return folder, f"in {TRIES} runs no {point.victim} could be killed"
    if point.victim == "mid-write":
        _tear(folder / "rounds.jsonl", draw)
    recorded = whole_lines(folder / "rounds.jsonl")
    gates = _gate_logs(folder)
    for _ in range(3):
        done = subprocess.run(_command(folder), cwd=lab.folder, env=environment, capture_output=True, text=True)
        if done.returncode == 0:
            break
    if done.returncode != 0:
        return folder, done.stderr
    again = [n for n in range(len(recorded)) if _gate_logs(folder).get(n) != gates.get(n)]
    if again:
        return folder, f"rounds {again} had been recorded and were judged again"
    kept = whole_lines(folder / "rounds.jsonl")[: len(recorded)]
    return folder, "" if kept == recorded else "what had been recorded was changed"


def difference(folder: Path, whole: Path, victim: str) -> str:
    """What differs from the undisturbed run, or ""; a gate that was killed may leave a void round more."""
    mine, theirs = _rounds(folder), _rounds(whole)
    if [r["round"] for r in mine] != list(range(len(mine))):
        return "a round is missing, or there twice"
    if victim == "gate":
        mine, theirs = _substance(mine), _substance(theirs)
    for one, other in zip(mine, theirs, strict=False):
        if one != other:
            return _first_difference(one, other, f"round {one['round']}" if "round" in one else "")
    if len(mine) != len(theirs):
        return f"{len(mine)} rounds, not {len(theirs)}"
    if victim == "gate":
        return ""
    return "" if _briefs(folder) == _briefs(whole) else "a brief differs"


def _first_difference(one: Any, other: Any, where: str) -> str:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next((_first_difference(one[k], other[k], f"{where}.{k}") for k in one if one[k] != other[k]), "")
    return f"{where}: {str(one)[:200]} is not {str(other)[:200]}"


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a record that are whole."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "vibeserve_loop", "resume", str(folder)]


def _kill(process: subprocess.Popen[str], victim: str, draw: random.Random, duration_s: float) -> bool:
    """Send SIGKILL at a drawn moment; whether anything was killed before the run ended by itself."""
    ready = time.monotonic() + draw.uniform(0.0, duration_s)
    mark = MARKS.get(victim)
    while process.poll() is None:
        if time.monotonic() >= ready:
            found = [pid for pid, words in _tree(process.pid) if mark and mark in words and b"tether" not in words]
            if mark is None or found:
                break
        time.sleep(0.0005)
    if process.poll() is not None:
        return False
    if mark is None:
        family = [pid for pid, _ in _tree(process.pid)] if victim == "everything" else []
        return any([_end(pid) for pid in (process.pid, *family)]) and process.wait(LONGEST_S) == -signal.SIGKILL
    return _end(found[-1])


def _end(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _tree(pid: int) -> list[tuple[int, bytes]]:
    """Every descendant with its command line."""
    found: list[tuple[int, bytes]] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        with contextlib.suppress(OSError):
            # Each thread has children of its own, and rounds side by side are worked in threads.
            for thread in Path(f"/proc/{parent}/task").iterdir():
                for child in map(int, (thread / "children").read_text().split()):
                    waiting.append(child)
                    found.append((child, Path(f"/proc/{child}/cmdline").read_bytes()))
    return found


def _tear(path: Path, draw: random.Random) -> None:
    """Leave only a part of the last line, as a write does that was cut off."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if lines:
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][: draw.randrange(len(lines[-1]))])


def _gate_logs(folder: Path) -> dict[int, int]:
    """When each round's gate began to write its log, by the number of the round."""
    return {int(path.parent.name): path.stat().st_mtime_ns for path in folder.glob("rounds/*/gate.log")}


def _rounds(folder: Path) -> list[dict[str, Any]]:
    rounds = [json.loads(line) for line in whole_lines(folder / "rounds.jsonl")]
    for record in rounds:
        record.pop("started"), record.pop("wall_s"), record.pop("elapsed_s")
        if record["work"]:
            record["work"].pop("spend")
        found = record["assessment"]
        if found:
            found.pop("command"), found.pop("wall_s")
            if found["comparison"]:
                found["comparison"].pop("baseline")
    return rounds


def _substance(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was tried and what became of it, without rounds in which nobody was judged."""
    judged = [r for r in rounds if r["decision"]["ruling"] != "void" or not r["assessment"]]
    return [
        {"kind": r["task"]["kind"], "tree": r["tree"], "ruling": r["decision"]["ruling"]} for r in judged
    ]  # fmt: skip


def _briefs(folder: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in sorted(folder.glob("rounds/*/brief.md"))}


def clear(folder: Path) -> None:
    """Remove a trial that went well."""
    shutil.rmtree(folder.parent)
