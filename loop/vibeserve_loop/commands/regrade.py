"""Judge a run's stored candidates again under the target as it is now; the run's own record is left as it is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict

from pytest_vibeserve.errors import ExitCode, InfrastructureError, UsageError
from pytest_vibeserve.report import Comparison, write_atomically
from pytest_vibeserve.source_tree import tree_digest
from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.commands.start import devices_of
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.lines import Lines
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.machine.devices import Devices
from vibeserve_loop.records import Assessment, Round
from vibeserve_loop.workspace import Workspace

ASKED, LINES, LOCK = "asked.json", "regrade.jsonl", ".regrade.lock"


class Regrade(BaseModel):
    """One stored candidate under the new suite, beside what the run had found."""

    model_config = ConfigDict(frozen=True)

    round: int
    before: str
    now: str
    reason: str
    comparison: Comparison | None = None
    target_digest: str = ""


class Asked(BaseModel):
    """What a regrading was asked for; one that was cut off is taken up again by the same question only."""

    model_config = ConfigDict(frozen=True)

    target: str
    suite: str
    depth: Literal["quick", "full"]
    command: tuple[str, ...] = ()
    rounds: tuple[int, ...]


def regrade(folder: RunFolder, target: str, depth: str, command: tuple[str, ...], *, as_json: bool) -> ExitCode:
    """Judge starter and work, each against its base; REJECTED when a candidate that had been kept is not any more.

    Each line is on disk before the next is judged, and the same question goes on where it was cut off.  UsageError
    while another regrading of the run is under way.
    """
    settings, rounds = folder.settings(), folder.history().rounds
    first = lineage.starter(rounds)
    if first is None:
        raise UsageError(f"run {folder.id} has no accepted starter: there is nothing to judge again")
    suite = load_target(target or settings.target, settings.profile)
    gate = Gate(suite, folder.path, command or settings.gate_command, settings.strict)
    asked = Asked(
        target=str(suite.folder),
        suite=tree_digest(suite.folder, linked=True),
        depth=cast(Literal["quick", "full"], depth),
        command=gate.command,
        rounds=tuple(record.round for record in _stored(rounds)),
    )
    with folder.locked("regrading", LOCK):
        found = _judged(folder, gate, asked, devices_of(settings, suite), as_json=as_json)
    lost = [f for f in found if f.now != "accepted" and rounds[f.round].decision.ruling == "accept"]
    return ExitCode.REJECTED if lost else ExitCode.ACCEPTED


def _judged(folder: RunFolder, gate: Gate, asked: Asked, devices: Devices, *, as_json: bool) -> list[Regrade]:
    """Everything that was asked for, what was judged before a kill included, told line by line."""
    place, rounds = _place(folder, asked), folder.history().rounds
    lines = Lines(place / LINES, Regrade)
    found = list(lines.read())
    for line in found:
        _tell(line, as_json)
    for record in [rounds[number] for number in asked.rounds][len(found) :]:
        with devices.lease() as device:
            case = replace(_case(folder, rounds, record, place, asked), device=device)
            found.append(_regrade(record, gate.assess(case)))
        lines.add(found[-1])
        _tell(found[-1], as_json)
    if not as_json:
        sys.stdout.write(f"{lines.path} holds the whole\n")
    return found


def _case(folder: RunFolder, rounds: tuple[Round, ...], record: Round, place: Path, asked: Asked) -> Case:
    workspace = Workspace(folder.workspace)
    candidate = workspace.export(record.commit, folder.round(record.round) / "candidate")
    base = rounds[record.task.base] if record.task.kind == "work" else None
    rival = workspace.export(base.commit, folder.round(base.round) / "candidate") if base else None
    return Case(candidate, rival, asked.depth, place / f"{record.round:04d}")


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


def _place(folder: RunFolder, asked: Asked) -> Path:
    """The folder of the last regrading where it was asked the same and cut off, else a new one."""
    earlier = sorted(Path(folder.path, "regraded").glob("*"))
    if earlier and (earlier[-1] / ASKED).is_file():
        same = Asked.model_validate_json((earlier[-1] / ASKED).read_bytes()) == asked
        if same and len(Lines(earlier[-1] / LINES, Regrade).read()) < len(asked.rounds):
            return earlier[-1]
    place = Path(folder.path, "regraded", f"{len(earlier):04d}")
    write_atomically(place / ASKED, asked.model_dump_json() + "\n")
    return place


def _tell(found: Regrade, as_json: bool) -> None:
    compared = found.comparison
    gain = f", {gain_text(compared.gain, compared.low, compared.high)}" if compared else ""
    line = f"round {found.round}: {found.before} before, {found.now} now{gain}: {found.reason}"
    sys.stdout.write((found.model_dump_json() if as_json else line) + "\n")
    sys.stdout.flush()
