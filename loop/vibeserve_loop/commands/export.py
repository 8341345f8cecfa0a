"""Take the winner out of a run: a folder that needs nothing of the loop, with the evidence beside it."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from string import Template

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import Report, read_report, write_atomically
from pytest_vibeserve.target import load_target
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.records import Round
from vibeserve_loop.showing.page import serve_command
from vibeserve_loop.workspace import Workspace


def export(folder: RunFolder, into: Path) -> Path:
    """Write candidate/, report.json, winner.patch and REPRODUCE.md; UsageError without a winner or on a full folder."""
    settings, rounds = folder.settings(), folder.history().rounds
    final = lineage.winner(rounds)
    if final is None:
        raise UsageError(f"run {folder.id} has no winner; `vibeserve-loop resume {folder.id}` goes on with it")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UsageError(f"{into} is not empty; give a folder that is empty or does not exist")
    into.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(folder.workspace)
    candidate = workspace.export(final.commit, into / "candidate")
    shutil.copy2(folder.round(final.round) / "report.json", into / "report.json")
    write_atomically(into / "winner.patch", workspace.diff(rounds[0].commit, final.commit) + "\n")
    target = load_target(settings.target, settings.profile)
    report = read_report(into / "report.json")
    write_atomically(into / "REPRODUCE.md", _reproduce(final, report, target.folder, serve_command(candidate)))
    return into


def _reproduce(final: Round, report: Report, target: Path, serve: str) -> str:
    found = report.comparison
    words = {
        "target": report.target.name,
        "profile": report.target.profile,
        "digest": report.target.digest,
        "commit": final.commit,
        "tree": report.candidate.tree,
        "outcome": f"{report.verdict.outcome} ({report.depth}): {report.verdict.reason}",
        "gain": gain_text(found.gain, found.low, found.high) if found else "not measured",
        "metric": f"{found.metric} at {found.load}" if found else "",
        "machine": f"{report.environment.cpu}, {report.environment.cores} cores, {report.environment.platform}",
        "folder": str(target),
        "serve": serve.partition(" && ")[2],
        "command": report.command,
    }
    template = (files("vibeserve_loop") / "prompts" / "reproduce.md").read_text(encoding="utf-8")
    return Template(template).substitute(words)
