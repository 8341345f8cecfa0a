"""The last page of a run: what was gained, where the winner is, how to serve it and how to check it."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pytest_vibeserve.report import Measurement
from pytest_vibeserve.target import Target
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.accounts import Account, account, account_lines
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.records import Round
from vibeserve_loop.showing.verdict import verdict_of


class Ending(BaseModel):
    """How a run stands, for people and for programs."""

    model_config = ConfigDict(frozen=True)

    run: str
    exit_code: int
    verdict: str
    winner_round: int | None = None
    winner: str = ""
    commit: str = ""
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    techniques: tuple[str, ...] = ()
    seconds: float = 0.0
    usd: float = 0.0
    tokens: int = 0
    account: Account | None = None
    page: str = ""


def ending(folder: RunFolder, rounds: Sequence[Round], target: Target, early: str = "") -> Ending:
    """The state of a run as its rounds tell it, with the page as text; `early` says why it ended before its time."""
    code, verdict = verdict_of(rounds, early)
    final = lineage.winner(rounds)
    found = final.assessment.comparison if final and final.assessment else None
    champion = rounds[final.task.base] if final else None
    return Ending(
        run=folder.id,
        exit_code=code,
        verdict=verdict,
        winner_round=champion.round if champion else None,
        winner=str(folder.round(champion.round) / "candidate") if champion else "",
        commit=champion.commit if champion else "",
        gain=found.gain if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        techniques=tuple(sorted(lineage.applied(rounds, champion))) if champion else (),
        seconds=lineage.seconds(rounds),
        usd=lineage.dollars(rounds),
        tokens=lineage.tokens(rounds),
        account=account(rounds),
        page="\n".join([f"# {target.name}, run {folder.id}", "", verdict, "", *_body(folder, rounds, target)]) + "\n",
    )


def serve_command(candidate: Path) -> str:
    """How a person starts a candidate by hand; MODEL stands for the model's folder."""
    table = tomllib.loads((candidate / "candidate.toml").read_text(encoding="utf-8"))
    words = [str(word) for word in table["serve"]["command"]]
    filled = [w.replace("{model}", "MODEL").replace("{host}", "127.0.0.1").replace("{port}", "8000") for w in words]
    build = shlex.join(table["build"]["command"]) + " && " if "build" in table else ""
    return f"cd {shlex.quote(str(candidate))} && {build}{shlex.join(filled)}"


def _body(folder: RunFolder, rounds: Sequence[Round], target: Target) -> list[str]:
    lines = [*_table(rounds, target), "", *_told(rounds)]
    final = lineage.winner(rounds)
    if final is None:
        return lines
    candidate = folder.round(final.task.base) / "candidate"
    command = final.assessment.command if final.assessment else ""
    return [
        *lines,
        "",
        f"The winner: {candidate} (commit {final.commit[:12]}, refs/vibeserve/winner in {folder.workspace})",
        f"Serve it:   {serve_command(candidate)}",
        f"Check it:   {command}",
        f"Take it:    vibeserve-loop export {folder.id} DIR",
    ]


def _table(rounds: Sequence[Round], target: Target) -> list[str]:
    headline = target.headline
    metric = f"{headline.metric} at {headline.load} ({headline.unit})"
    lines = [f"| | {metric} | 95 % interval | over the starter |", "|-|-|-|-|"]
    final = lineage.winner(rounds)
    for record in rounds:
        kept = record.task.kind == "starter" or record is final
        if not record.assessment or not (kept or record.task.kind == "baseline"):
            continue
        name = {"starter": "starter", "final": f"winner (round {record.task.base})"}.get(record.task.kind)
        found = record.assessment.comparison
        gain = gain_text(found.gain, found.low, found.high) if found and record.task.kind != "starter" else ""
        value = _cells(record.assessment.headline) or f"{record.assessment.outcome} | "
        lines.append(f"| {name or Path(record.task.baseline).name} | {value} | {gain or '-'} |")
    return lines


def _cells(found: Measurement | None) -> str:
    return f"{found.value:.1f} | [{found.low:.1f}, {found.high:.1f}]" if found else ""


def _told(rounds: Sequence[Round]) -> list[str]:
    minutes = lineage.seconds(rounds) / 60
    work = lineage.judged_work(rounds)
    kept = [r for r in work if r.decision.ruling == "accept"]
    money = f", {lineage.dollars(rounds):.2f} USD" if lineage.dollars(rounds) else ""
    lines = [f"{len(work)} rounds of work, {len(kept)} kept, in {minutes:.1f} min{money}."]
    lines += [f"- round {r.round}: {r.work.summary if r.work else ''} ({r.decision.reason})" for r in kept]
    return [*lines, "", *account_lines(account(rounds))]
