"""The agent that replays: patches from a folder, one a round in the order of their names, or what another run's did."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import ClassVar

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.planning.answer import PLAN_FILE
from vibeserve_loop.records import AgentResult, Round, Spend
from vibeserve_loop.roles import Brief, Desk, Job
from vibeserve_loop.workspace import Workspace


class RecordedAgent:
    """Round k of the work applies the k-th `*.patch`; the file's name after its first dash names the technique.

    With `run` it does in its k-th session what the agents of that run did in theirs, and answers as its planner did.
    """

    FOLDERS: ClassVar[tuple[str, ...]] = ("patches", "run")

    def __init__(self, patches: str = "", run: str = "") -> None:
        """Take the folder of patches, or of a run; UsageError when it holds none, or both are given."""
        if bool(patches) == bool(run):
            raise UsageError("recorded: give a folder of patches as `patches=DIR`, or a run's folder as `run=DIR`")
        self._patches = sorted(Path(patches).resolve().glob("*.patch")) if patches else []
        if patches and not self._patches:
            raise UsageError(f"{patches} holds no *.patch file; give a folder of patches as `patches=DIR`")
        self._run = RunFolder(Path(run).resolve()) if run else None
        if self._run:
            self._run.settings()

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """Do what comes next; exhausted after the last, failed where a patch does not apply."""
        if self._run:
            return _repeated(self._run, brief, desk)
        done = lineage.turns(brief.rounds)
        if done >= len(self._patches):
            return AgentResult(summary="every patch was applied", exhausted=True)
        patch = self._patches[done]
        if refused := _applied(patch, desk):
            return AgentResult(summary=refused, failed=refused)
        name = patch.stem.partition("-")[2] or patch.stem
        return AgentResult(summary=f"applied {patch.name}", techniques=(name,))


def _repeated(run: RunFolder, brief: Brief, desk: Desk) -> AgentResult:
    """The session of the same kind and number, at no cost."""
    rounds, kind = run.history().rounds, brief.task.kind
    number = lineage.turns(brief.rounds) if kind == "work" else sum(r.task.kind == kind for r in brief.rounds)
    before = [r for r in rounds if r.task.kind == kind and r.work and not (kind == "work" and _voided(r))]
    if kind == "plan":
        stop = {"stop": f"the recorded run {run.id} planned no further"}
        answer = before[number].answer if number < len(before) else None
        words = answer.model_dump_json() if answer else json.dumps(stop) if number >= len(before) else "no answer"
        (desk.folder / PLAN_FILE).write_text(words, encoding="utf-8")
    if number >= len(before):
        return AgentResult(summary=f"every session of run {run.id} was replayed", exhausted=True)
    record = before[number]
    if kind == "work" and (refused := _redone(run, rounds, record, desk)):
        return AgentResult(summary=refused, failed=refused)
    assert record.work is not None
    return AgentResult.model_validate({**record.work.model_dump(), "spend": Spend(), "gates": 0})


def _voided(record: Round) -> bool:
    return record.decision.ruling == "void" and record.assessment is not None


def _redone(run: RunFolder, rounds: tuple[Round, ...], record: Round, desk: Desk) -> str:
    """Apply what a round changed of the code that it began from; why not, or ""."""
    task = record.task
    origin = rounds[task.base if task.start is None else task.start]
    changed = Workspace(run.workspace).diff(origin.commit, record.commit, binary=True)
    if not changed:
        return ""
    with tempfile.TemporaryDirectory() as scratch:
        patch = Path(scratch, f"round-{record.round}.patch")
        patch.write_text(changed + "\n", encoding="utf-8", errors="surrogateescape")
        return _applied(patch, desk)


def _applied(patch: Path, desk: Desk) -> str:
    """Apply a patch; why it does not apply, or ""."""
    command = ("git", "apply", "--whitespace=nowarn", str(patch))
    ended = desk.sandbox.run(Job(command, writable=desk.folder, readable=(patch, *desk.readable)))
    desk.log(f"{patch.name}: exit {ended.code} {ended.errors.strip()}")
    return f"{patch.name} does not apply: {ended.errors.strip()}" if ended.code != 0 else ""
