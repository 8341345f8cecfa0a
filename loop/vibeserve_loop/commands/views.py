"""What can be looked up: the rounds of a run, one round, and everything that has a name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import entries
from pytest_vibeserve.target import TARGET_FILE
from vibeserve_loop import resolve
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.records import Round
from vibeserve_loop.showing.progress import table_of, told
from vibeserve_loop.skills import SKILL_FILE
from vibeserve_loop.workspace import Workspace


def show_log(folder: RunFolder, *, as_json: bool) -> None:
    """Every finished round, one a line."""
    settings, rounds = folder.settings(), folder.history().rounds
    if as_json:
        for record in rounds:
            _say(json.dumps(table_of(record)))
        return
    _say(f"run {folder.id}: {Path(settings.target).name}, agent {settings.agent}, policy {settings.policy}")
    for record in rounds:
        _say(told(record))
    if not rounds:
        _say(f"no round has been recorded yet; to go on: vibeserve-loop resume {folder.id}")


def show_round(folder: RunFolder, number: int, *, as_json: bool) -> None:
    """One round with its reasons, measurements and patch."""
    rounds = folder.history().rounds
    if not 0 <= number < len(rounds):
        there = f"it has rounds 0 to {len(rounds) - 1}" if rounds else "none has been recorded yet"
        raise UsageError(f"run {folder.id} has no round {number}; {there}")
    record = rounds[number]
    patch = ""
    if record.task.kind == "work" and record.commit:
        patch = Workspace(folder.workspace).diff(rounds[record.task.base].commit, record.commit)
    if as_json:
        place = str(folder.round(number))
        _say(json.dumps({**table_of(record), "folder": place, "patch": patch}))
        return
    for line in (*_facts(record), f"files: {folder.round(number)}", "", patch):
        _say(line)


def show_names(*, as_json: bool) -> None:
    """Targets, agents, policies, sandboxes and skills, by the names that the commands take."""
    named = {
        "targets": sorted(entries("targets", TARGET_FILE)),
        "agents": list(resolve.names("agents")),
        "policies": list(resolve.names("policies")),
        "sandboxes": [resolve.AUTO, *resolve.names("sandboxes")],
        "skills": sorted(entries("skills", SKILL_FILE)),
    }
    if as_json:
        _say(json.dumps(named))
        return
    for kind, names in named.items():
        _say(f"{kind}: {', '.join(names) or 'none'}")


def _facts(record: Round) -> list[str]:
    lines = [told(record), f"hypothesis: {record.task.hypothesis}", f"commit: {record.commit or '-'}"]
    lines.append(f"base: round {record.task.base}")
    found = record.assessment
    if found is None:
        return lines
    if found.opinion:
        lines.append(f"reviewer: asks for {found.opinion.ask}. {found.opinion.why}".rstrip())
    if found.comparison:
        c = found.comparison
        numbers = f"{c.candidate_value:.1f} against {c.baseline_value:.1f} {c.unit}, {c.pairs} pairs"
        lines.append(f"{c.conclusion}: {gain_text(c.gain, c.low, c.high)} ({numbers})")
    lines += [f"failed {check.name}: {check.detail} {check.example}".rstrip() for check in found.failed]
    lines += [f"{m.metric} at {m.load}: {m.value:.2f} [{m.low:.2f}, {m.high:.2f}] {m.unit}" for m in found.measurements]
    lines += [f"hint {hint.name} {hint.value:.2f}: {hint.text}" for hint in found.hints]
    return lines


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
