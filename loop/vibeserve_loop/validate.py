"""The contract's own test: its starter must pass, and every built-in fault must be refused."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pytest_vibeserve.errors import ExitCode, InfrastructureError, UsageError
from pytest_vibeserve.target import Target, load_target
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.faults import Fault, built_in_faults
from vibeserve_loop.records import Assessment


class Finding(BaseModel):
    """One candidate of known worth: whether the gate said of it what it should."""

    model_config = ConfigDict(frozen=True)

    event: str = "finding"
    candidate: str
    right: bool
    outcome: str
    reason: str


def validate(name: str, profile: str, gate_command: tuple[str, ...], *, as_json: bool) -> ExitCode:
    """Judge starter and faults; REJECTED when the contract says the wrong thing of one of them."""
    target = load_target(name, profile)
    starter = target.folder / "starter"
    if not (starter / "candidate.toml").is_file():
        raise UsageError(f"{target.folder} has no starter/candidate.toml: a target begins with an honest server")
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="vibeserve-validate-") as scratch:
        home = Path(scratch)
        gate = Gate(target, home, gate_command)
        wrong += _tell(_starter(gate.assess(Case(starter, None, "quick", home / "logs" / "starter"))), as_json)
        for fault in _faults(target, home / "faults"):
            found = gate.assess(Case(fault.folder, None, "quick", home / "logs" / fault.name))
            wrong += _tell(_fault(fault, found), as_json)
    if not as_json:
        sys.stdout.write(f"{target.name}: {'the contract holds' if not wrong else f'{wrong} wrong findings'}\n")
    return ExitCode.REJECTED if wrong else ExitCode.ACCEPTED


def _faults(target: Target, into: Path) -> list[Fault]:
    if target.modality != "text":
        print(f"note: there are no built-in faults for {target.modality} targets", file=sys.stderr)
        return []
    faults = built_in_faults(target.folder / "starter", into)
    return [fault for fault in faults if not (fault.name == "memoised" and target.rules.response_cache)]


def _starter(found: Assessment) -> Finding:
    _judged("starter", found)
    right = found.outcome == "accepted"
    return Finding(candidate="starter", right=right, outcome=found.outcome, reason=found.reason)


def _fault(fault: Fault, found: Assessment) -> Finding:
    _judged(fault.name, found)
    names = ", ".join(check.name for check in found.failed) or found.reason
    noticed = any(check.name.startswith(fault.expected_check) for check in found.failed)
    elsewhere = "" if noticed or found.outcome != "rejected" else f" (expected {fault.expected_check})"
    right = found.outcome == "rejected"
    return Finding(candidate=f"fault {fault.name}", right=right, outcome=found.outcome, reason=names + elsewhere)


def _judged(name: str, found: Assessment) -> None:
    if found.outcome in ("infrastructure", "nothing"):
        raise InfrastructureError(f"{name}: {found.reason}")


def _tell(finding: Finding, as_json: bool) -> int:
    """Print a finding; 1 when it is wrong."""
    line = f"{'ok   ' if finding.right else 'WRONG'} {finding.candidate}: {finding.outcome}: {finding.reason}"
    sys.stdout.write((finding.model_dump_json() if as_json else line) + "\n")
    sys.stdout.flush()
    return 0 if finding.right else 1
