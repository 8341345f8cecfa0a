"""A small gate for the loop's tests: a real program that judges a candidate by the files in its folder.

`speed` holds its throughput; `wrong`, `brittle` (fails in depth only), `fickle` (fails in depth against the first code
only), `crash`, `forged`, `mute` and `idle` (judges nothing) make it end in the ways that a gate can end; `busy` drops
all pairs of the comparison; `orphan` leaves a child behind.  In the target's folder `slow` holds seconds to take
and `fastest` the largest speed that passes.  Standard library only, for it is started hundreds of times.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HINTS = (("serial-service", 4.0), ("step-overhead", 10.0), ("idle-cores", 1.5))
METRIC = {"metric": "output_throughput", "load": "c16", "unit": "tok/s"}


def main() -> int:
    options = _options()
    folder = Path(options.candidate)
    if (folder / "usage").exists():
        print("ERROR: the model is not here: fetch it with `fetch-it`", file=sys.stderr)
        return 4
    if (folder / "orphan").exists() and os.fork() == 0:
        os.setsid()
        os.execvp("sleep", ["sleep", "1234"])
    slow = Path(options.target) / "slow"
    if slow.exists():
        time.sleep(float(slow.read_text()))
    if (folder / "crash").exists():
        print("the machine is on fire", file=sys.stderr)
        return 3
    fastest = Path(options.target) / "fastest"
    refused = fastest.exists() and float((folder / "speed").read_text()) > float(fastest.read_text())
    refused = refused or (folder / "wrong").exists() or (options.depth == "full" and _fails_in_depth(folder, options))
    if not (folder / "mute").exists():
        Path(options.report).write_text(json.dumps(_report(options, folder, refused)))
    if (folder / "idle").exists():
        return 5
    return 0 if (folder / "forged").exists() else int(refused)


def _fails_in_depth(folder: Path, options: argparse.Namespace) -> bool:
    against_the_first = bool(options.baseline) and _speed(Path(options.baseline)) == 100
    return (folder / "brittle").exists() or (against_the_first and (folder / "fickle").exists())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("target", "candidate", "baseline", "depth", "profile", "report", "server-log", "nonce"):
        parser.add_argument(f"--vibeserve-{name}", dest=name.replace("-", "_"), default="")
    return parser.parse_known_args()[0]


def _report(options: argparse.Namespace, folder: Path, refused: bool) -> dict[str, Any]:
    check = {"name": "answers.greedy", "result": "fail" if refused else "pass", "detail": "3 of 24 answers differ"}
    verdict = {
        "outcome": "rejected" if refused else "accepted",
        "reason": "answers.greedy: 3 of 24 answers differ" if refused else "every check passed",
        "provisional": options.depth == "quick",
        "checks": [check],
    }
    found: dict[str, Any] = {
        "schema": 1,
        "target": {
            "name": "lab", "profile": options.profile, "suite_digest": "",
            "digest": _digest(Path(options.target), but="slow"),
        },
        "candidate": {"path": str(folder), "tree": _digest(folder)},
        "depth": options.depth,
        "seed": {"commitment": "c", "reveal": "r"},
        "environment": {
            "isolation": "none", "platform": "p", "cpu": "cpu", "cores": 2, "memory_gib": 8, "python": "3",
        },
        "verdict": verdict,
        "command": f"pytest --vibeserve-candidate {folder}",
        "nonce": options.nonce,
        "tests": ["test_accuracy.py::test_answers"],
        "expected": ["test_accuracy.py::test_answers"],
        "wall_s": 0.1,
    }  # fmt: skip
    if (folder / "idle").exists():
        found["verdict"] = {**verdict, "outcome": "nothing", "reason": "no test was collected", "checks": []}
    elif not refused:
        found["measurements"] = [_measurement(_speed(folder))]
        found["hints"] = [{"name": name, "value": value, "text": f"{name} is high"} for name, value in HINTS]
        found["comparison"] = _comparison(folder, Path(options.baseline)) if options.baseline else None
    return found


def _measurement(value: float) -> dict[str, Any]:
    interval = {"value": value, "low": value * 0.98, "high": value * 1.02}
    return {**METRIC, **interval, "direction": "max", "headline": True, "samples": [value, value]}


def _comparison(folder: Path, baseline: Path) -> dict[str, Any]:
    mine, theirs = _speed(folder), _speed(baseline)
    gain = mine / theirs
    conclusion = "better" if gain * 0.98 > 1.01 else "worse" if gain * 1.02 < 0.99 else "no difference shown"
    values = {"baseline_value": theirs, "candidate_value": mine, "gain": gain, "low": gain * 0.98, "high": gain * 1.02}
    rival = {"baseline": str(baseline), "baseline_tree": _digest(baseline), "pairs": 4}
    if (folder / "busy").exists():
        rival |= {"pairs": 0, "dropped": 4}
        conclusion = "no difference shown"
    return {**METRIC, **values, **rival, "conclusion": conclusion}


def _speed(folder: Path) -> float:
    return float((folder / "speed").read_text())


def _digest(folder: Path, but: str = "") -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != but)
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


sys.exit(main())
