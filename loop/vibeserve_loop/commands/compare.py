"""Candidates side by side: each against the first, measured interleaved by the gate."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.statistics import ALPHA
from pytest_vibeserve.target import Target, load_target
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.commands.start import baseline_folder
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger.runs import find_run
from vibeserve_loop.records import Assessment, plain
from vibeserve_loop.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Question:
    """What to compare, under which target and profile, how deeply, and where runs lie."""

    target: str
    names: tuple[str, ...]
    profile: str
    depth: Literal["quick", "full"]
    runs: Path
    gate_command: tuple[str, ...] = ()


def compare(question: Question, *, as_json: bool) -> None:
    """Print one conclusion for each name after the first; InfrastructureError when the gate could not judge."""
    if len(question.names) < 2:
        raise UsageError("compare needs two or more candidates: folders, baselines' names, or RUN:ROUND")
    target = load_target(question.target, question.profile)
    with tempfile.TemporaryDirectory(prefix="vibeserve-compare-") as scratch:
        home = Path(scratch)
        folders = [_folder(name, target, question.runs, home / str(i)) for i, name in enumerate(question.names)]
        gate = Gate(target, home, question.gate_command)
        # The more that are held against the first, the surer each must be for all of them to be right together.
        alpha = ALPHA / (len(question.names) - 1)
        for number, name in enumerate(question.names[1:], start=1):
            case = Case(folders[number], folders[0], question.depth, home / f"case{number}", alpha)
            _tell(name, question.names[0], gate.assess(case), as_json)


def _folder(name: str, target: Target, runs: Path, scratch: Path) -> Path:
    """The folder that a name means: a candidate, a baseline, or code of a run (RUN:ROUND, RUN:COMMIT, ROUND)."""
    run, colon, revision = name.rpartition(":")
    if not colon and not name.isdecimal():
        return baseline_folder(target, name)
    if colon and Path(name).is_dir():
        return baseline_folder(target, name)
    found = find_run(run or None, runs)
    if revision.isdecimal() and len(revision) < 7:
        rounds = found.history().rounds
        if int(revision) >= len(rounds) or not rounds[int(revision)].commit:
            raise UsageError(f"run {found.id} has no code of a round {revision}; `vibeserve-loop log` lists rounds")
        revision = rounds[int(revision)].commit
    workspace = Workspace(found.workspace)
    return workspace.export(workspace.commit_of(revision).sha, scratch)


def _tell(name: str, base: str, found: Assessment, as_json: bool) -> None:
    if found.outcome in ("infrastructure", "nothing"):
        raise InfrastructureError(f"{name}: {found.reason}")
    compared = found.comparison
    if as_json:
        part = plain(compared) if compared else None
        fields = {"candidate": name, "baseline": base, "outcome": found.outcome, "reason": found.reason}
        sys.stdout.write(json.dumps({"event": "comparison", **fields, "comparison": part}) + "\n")
    elif compared is None:
        sys.stdout.write(f"{name}: not measured, {found.outcome} by the gate: {found.reason}\n")
    else:
        gain = gain_text(compared.gain, compared.low, compared.high)
        numbers = f"{compared.candidate_value:.1f} against {compared.baseline_value:.1f} {compared.unit}"
        dropped = f", {compared.dropped} dropped" if compared.dropped else ""
        where = f"{compared.metric} at {compared.load}, {compared.pairs} pairs{dropped}"
        where += f"; {compared.standing}" if compared.standing else ""
        judged = "" if found.outcome == "accepted" else f"; {found.outcome} by the gate: {found.reason}"
        sys.stdout.write(f"{name} against {base}: {compared.conclusion}, {gain} ({numbers}; {where}){judged}\n")
    sys.stdout.flush()


def names_of(words: Sequence[str]) -> tuple[str, ...]:
    """The names as given, each once; UsageError for one that is given twice."""
    twice = [word for word in words if list(words).count(word) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is given twice; to see the noise, compare a copy of the folder")
    return tuple(words)
