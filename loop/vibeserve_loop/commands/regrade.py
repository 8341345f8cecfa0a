"""Judge a run's stored candidates again under the target as it is now; the run's own record is left as it is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict

from pytest_vibeserve.errors import ExitCode, InfrastructureError, UsageError
from pytest_vibeserve.report import Comparison, write_atomically
from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.records import Assessment, Round
from vibeserve_loop.workspace import Workspace


class Regrade(BaseModel):
    """One stored candidate under the new suite, beside what the run had found."""

    model_config = ConfigDict(frozen=True)

    round: int
    before: str
    now: str
    reason: str
    comparison: Comparison | None = None
    target_digest: str = ""


def regrade(folder: RunFolder, target: str, depth: str, command: tuple[str, ...], *, as_json: bool) -> ExitCode:
    """Judge starter and work, each against its base; REJECTED when a candidate that had been kept is not any more."""
    settings, rounds = folder.settings(), folder.history().rounds
    first = lineage.starter(rounds)
    if first is None:
        raise UsageError(f"run {folder.id} has no accepted starter: there is nothing to judge again")
    suite = load_target(target or settings.target, settings.profile)
    place = folder.path / "regraded" / _name(folder)
    gate = Gate(suite, folder.path, command or settings.gate_command, settings.strict)
    workspace, found = Workspace(folder.workspace), []
    for record in _stored(rounds):
        candidate = workspace.export(record.commit, folder.round(record.round) / "candidate")
        base = rounds[record.task.base] if record.task.kind == "work" else None
        rival = workspace.export(base.commit, folder.round(base.round) / "candidate") if base else None
        wanted = cast(Literal["quick", "full"], depth)
        case = Case(candidate, rival, wanted, place / f"{record.round:04d}")
        found.append(_regrade(record, gate.assess(case)))
        _tell(found[-1], as_json)
    write_atomically(place / "regrade.jsonl", "".join(line.model_dump_json() + "\n" for line in found))
    if not as_json:
        sys.stdout.write(f"{place / 'regrade.jsonl'} holds the whole\n")
    lost = [f for f in found if f.now != "accepted" and rounds[f.round].decision.ruling == "accept"]
    return ExitCode.REJECTED if lost else ExitCode.ACCEPTED


def _stored(rounds: tuple[Round, ...]) -> list[Round]:
    """Everything that the gate once judged and whose code is kept, each tree once."""
    judged = [r for r in rounds if r.task.kind in ("starter", "work") and r.commit and r.assessment]
    return [r for r in judged if r.decision.ruling != "void"]


def _regrade(record: Round, found: Assessment) -> Regrade:
    if found.outcome in ("infrastructure", "nothing"):
        raise InfrastructureError(f"round {record.round}: {found.reason}")
    before = record.assessment.outcome if record.assessment else ""
    return Regrade(
        round=record.round, before=before, now=found.outcome, reason=found.reason, comparison=found.comparison,
        target_digest=found.target_digest,
    )  # fmt: skip


def _name(folder: RunFolder) -> str:
    """The next free number."""
    return f"{sum(1 for _ in Path(folder.path, 'regraded').glob('*')):04d}"


def _tell(found: Regrade, as_json: bool) -> None:
    compared = found.comparison
    gain = f", {gain_text(compared.gain, compared.low, compared.high)}" if compared else ""
    line = f"round {found.round}: {found.before} before, {found.now} now{gain}: {found.reason}"
    sys.stdout.write((found.model_dump_json() if as_json else line) + "\n")
    sys.stdout.flush()
