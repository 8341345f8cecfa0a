"""The contract's own test: its starter and honest variants must pass, and every built-in fault must be refused.

What was found is kept by a digest of contract and gate, so that a contract proves itself once.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

import pytest_vibeserve
from pytest_vibeserve.errors import ExitCode, InfrastructureError, UsageError
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.source_tree import entries
from pytest_vibeserve.target import Target, load_target
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.records import Assessment
from vibeserve_loop.validation.faults import PASSING, PROXY, Fault, built_in_faults
from vibeserve_loop.validation.own_faults import own_faults, sources

GATE = (sys.executable, "-I", "-B", "-m", "pytest")
PACKAGES = ("pytest", "torch", "transformers")
TRIES = 3
"""How often a candidate is judged where the machine, not the candidate, ends the gate."""


class Finding(BaseModel):
    """One candidate of known worth: whether the gate said of it what it should."""

    model_config = ConfigDict(frozen=True)

    event: str = "finding"
    candidate: str
    right: bool
    outcome: str
    reason: str
    advice: str = ""


class Proof(BaseModel):
    """Everything that was found out about a contract."""

    model_config = ConfigDict(frozen=True)

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """One contract under test: as it is for its starter, and as small as it comes for the many other candidates."""

    target: Target
    small: Target
    command: tuple[str, ...]

    @property
    def place(self) -> Path:
        """Where what was found is kept: for this contract, this gate and what both stand on."""
        state = hashlib.sha256(repr((self.target.profile, self.small.profile, self.command)).encode())
        state.update(repr([(sys.version, name, _version(name)) for name in PACKAGES]).encode())
        suite = Path(pytest_vibeserve.__file__).parent
        own = [Path(__file__), PROXY, PASSING, *(PROXY.with_name(name) for name in ("faults.py", "own_faults.py"))]
        own += [path for source in sources(self.target.starter_folder) for path in _sources(source)]
        for path in [*_sources(self.target.folder), *_sources(suite), *own]:
            state.update(f"{path.name}:{path.stat().st_size}:".encode() + path.read_bytes())
        return _cache() / "contracts" / f"{self.target.name}-{state.hexdigest()[:24]}.json"

    def findings(self) -> Iterator[Finding]:
        """Judge everything; a cheat only until the first test fails."""
        with tempfile.TemporaryDirectory(prefix="vibeserve-validate-") as scratch:
            home = Path(scratch)
            gate = Gate(self.target, home, self.command)
            found = _judged("starter", gate, Case(self.target.starter_folder, None, "quick", home / "logs" / "starter"))
            yield _accepted("starter", found)
            patient = Gate(self.small, home, self.command)
            hasty = Gate(self.small, home, (*(self.command or GATE), "--exitfirst"))
            for fault in _faults(self.small, home / "faults"):
                gate = patient if fault.honest else hasty
                name = f"{'honest' if fault.honest else 'fault'} {fault.name}"
                found = _judged(name, gate, Case(fault.folder, None, "quick", home / "logs" / fault.name))
                yield _accepted(name, found) if fault.honest else _refused(name, fault, found)


def validate(name: str, profile: str, gate_command: tuple[str, ...], *, as_json: bool) -> ExitCode:
    """Judge starter, honest variants and faults; REJECTED when the contract says the wrong thing of one of them."""
    target = load_target(name, profile)
    if not (target.starter_folder / "candidate.toml").is_file():
        raise UsageError(f"{target.folder} has no starter/candidate.toml: a target begins with an honest server")
    trial = Trial(target, _smallest(name, target), gate_command)
    place = trial.place
    known = _known(place)
    if known:
        print(f"note: known from an earlier run; remove {place} to judge again", file=sys.stderr)
    elif trial.small.profile != target.profile:
        print(f"note: the starter in profile {target.profile}, the others in {trial.small.profile}", file=sys.stderr)
    findings = []
    for finding in known or trial.findings():
        findings.append(finding)
        _tell(finding, as_json)
    write_atomically(place, Proof(findings=tuple(findings)).model_dump_json(indent=1))
    wrong = sum(not finding.right for finding in findings)
    if not as_json:
        said = f"{wrong} wrong findings: this contract may not judge anybody" if wrong else "the contract holds"
        sys.stdout.write(f"{target.name}: {said}\n")
    return ExitCode.REJECTED if wrong else ExitCode.ACCEPTED


def _smallest(name: str, target: Target) -> Target:
    """The target in its tiny profile, or as it is where it has none."""
    try:
        return target if target.profile == "tiny" else load_target(name, "tiny")
    except UsageError:
        return target


def _known(place: Path) -> tuple[Finding, ...]:
    try:
        return Proof.model_validate_json(place.read_bytes()).findings
    except (FileNotFoundError, ValidationError):
        return ()


def _cache() -> Path:
    given = os.environ.get("VIBESERVE_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("pytest-vibeserve")


def _sources(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    return [entry.path for entry in entries(folder, linked=True) if entry.kind == "file"]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _faults(target: Target, into: Path) -> list[Fault]:
    own = own_faults(target.starter_folder, into / "own")
    if target.modality != "text":
        print(f"note: there are no built-in faults for {target.modality} targets, only its own", file=sys.stderr)
        return own
    faults = built_in_faults(target.starter_folder, into)
    return [*own, *(fault for fault in faults if not (fault.name == "memoised" and target.rules.response_cache))]


def _accepted(name: str, found: Assessment) -> Finding:
    right = found.outcome == "accepted"
    advice = "" if right else "the contract wrongs an honest server, or the starter is not honest: see the reason"
    return Finding(candidate=name, right=right, outcome=found.outcome, reason=found.reason, advice=advice)


def _refused(name: str, fault: Fault, found: Assessment) -> Finding:
    names = ", ".join(check.name for check in found.failed) or found.reason
    noticed = any(fault.kind.noticed_by(check.name) for check in found.failed)
    right = found.outcome == "rejected"
    elsewhere = "" if noticed or not right else f" (expected {' or '.join(fault.kind.checks)})"
    advice = "" if right else f"a server that {fault.kind.words} gets through; {fault.kind.remedy}"
    return Finding(candidate=name, right=right, outcome=found.outcome, reason=names + elsewhere, advice=advice)


def _judged(name: str, gate: Gate, case: Case) -> Assessment:
    """What the gate says; where the machine kept it from saying anything, it is asked again a few times."""
    for attempt in range(1, TRIES + 1):
        found = gate.assess(case)
        if found.outcome not in ("infrastructure", "nothing"):
            return found
        again = "; once more" if attempt < TRIES else ""
        print(f"note: {name}: nothing was said about it: {found.reason}{again}", file=sys.stderr)
    raise InfrastructureError(f"{name}: {found.reason}")


def _tell(finding: Finding, as_json: bool) -> None:
    line = f"{'ok   ' if finding.right else 'WRONG'} {finding.candidate}: {finding.outcome}: {finding.reason}"
    line += f"\n      {finding.advice}" if finding.advice else ""
    sys.stdout.write((finding.model_dump_json() if as_json else line) + "\n")
    sys.stdout.flush()
