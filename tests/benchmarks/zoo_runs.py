"""Judge members of the zoo and append one line for each to a file, so that a run can be resumed.

    python tests/benchmarks/zoo_runs.py OUT.jsonl [--kind cheats|honest|all] [--names a b] [--runs 1] [--depth auto]
                                        [--parts accuracy|all] [--stop-after 280] [--at-once 2] [--profile tiny]

Servers, sandbox, load client, Judge and Evaluator are the gate's own; only pytest is left out, so that one process
judges many.  The checks run in the order of the contract's tests, and a member is done with the first that fails.
Every verdict draws its own secret: a run is a seed.  What is in the file already is not run again.  Depth `auto` is
quick, and full for what a quick gate cannot see.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from zoo import Member, cheats, honest, members  # noqa: E402

from pytest_vibeserve.errors import (  # noqa: E402
    CandidateFailure,
    ContractBroken,
    Inconclusive,
    InfrastructureError,
)
from pytest_vibeserve.report import Check  # noqa: E402
from pytest_vibeserve.server import Server  # noqa: E402
from pytest_vibeserve.session import Session  # noqa: E402
from pytest_vibeserve.settings import Settings  # noqa: E402
from pytest_vibeserve.target import Target, load_target  # noqa: E402

TRIES = 3
MEASURED = ("stream.", "service.", "physics.", "repeats.")
"""Checks whose statistics are kept where they pass too: how near to their limits honest servers come."""


@dataclass(frozen=True, slots=True)
class Case:
    """One member to be judged once."""

    name: str
    run: int
    depth: str
    parts: str
    profile: str


@dataclass(frozen=True, slots=True)
class Said:
    """Outcome, reason and checks of one candidate, and the seconds that it took from readiness."""

    outcome: str
    reason: str
    checks: tuple[Check, ...]
    since_ready_s: float | None


class Timed(Session):
    """A gate's session that knows when its candidate was ready first."""

    ready_at: float | None = None

    def _start(self, folder: Path, model: Path, log: Path | None, hook: Path | None = None) -> Server:
        server = super()._start(folder, model, log, hook)
        self.ready_at = self.ready_at or time.monotonic()
        return server


class Failed(BaseModel):
    """One check, of those that did not pass or were measured: its statistic against its limit."""

    model_config = ConfigDict(frozen=True)
    name: str
    statistic: float | None
    limit: float | None
    unit: str
    detail: str
    result: str = "fail"


class Judged(BaseModel):
    """What was said of one member; `since_ready_s` from its server's readiness to the verdict, `load` the machine's."""

    model_config = ConfigDict(frozen=True)
    name: str
    run: int
    depth: str
    parts: str
    outcome: str
    reason: str
    failed: tuple[Failed, ...]
    passed: int
    wall_s: float
    profile: str = "tiny"
    since_ready_s: float | None = None
    kept: tuple[Failed, ...] = ()
    load: float | None = None

    @property
    def right(self) -> bool:
        """Whether a cheat was refused, for what it does, or an honest server accepted."""
        member = members()[self.name]
        if member.honest:
            return self.outcome == "accepted"
        return self.outcome == "rejected" and bool(self.seen)

    @property
    def seen(self) -> list[Failed]:
        """The failed checks among those that must see the member, in the order in which they failed."""
        found = [check for check in self.failed if check.result == "fail"]
        return [check for check in found if members()[self.name].seen_by(check.name)]


def read(path: Path) -> dict[tuple[str, int], Judged]:
    """What a file holds, the last line of each name and run."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [Judged.model_validate_json(line) for line in lines]
    return {(one.name, one.run): one for one in found}


def judged(case: Case) -> Judged:
    """Make a member and judge it; again where the machine was too busy to measure."""
    target = load_target(str(ROOT / "targets" / "tiny_llama"), case.profile)
    for _ in range(TRIES):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="zoo-") as place:
            folder = Path(place) / case.name
            members()[case.name].make(folder)
            said = verdict(target, folder, case.depth, case.parts)
        if said.outcome != "infrastructure":
            break
    failed = tuple(_short(check) for check in said.checks if check.result in ("fail", "inconclusive"))
    kept = tuple(_short(check) for check in said.checks if check.name.startswith(MEASURED) and check.result == "pass")
    return Judged(
        name=case.name, run=case.run, depth=case.depth, parts=case.parts, outcome=said.outcome, reason=said.reason,
        failed=failed, passed=sum(check.result == "pass" for check in said.checks),
        wall_s=round(time.monotonic() - began, 1), profile=case.profile, since_ready_s=said.since_ready_s, kept=kept,
        load=round(os.getloadavg()[0], 1),
    )  # fmt: skip


def _short(check: Check) -> Failed:
    return Failed(name=check.name, statistic=check.statistic, limit=check.threshold, unit=check.unit,
                  detail=check.detail, result=check.result)  # fmt: skip


def verdict(target: Target, folder: Path, depth: str, parts: str) -> Said:
    """What the gate says of one candidate."""
    records: list[Any] = []
    settings = Settings(target, folder, "", None, depth, folder.with_suffix(".json"), None, None, "")  # type: ignore[arg-type]
    outcome, reason = "accepted", ""
    with closing(Timed(settings, records.append)) as session:
        try:
            for step in _steps(session, target, parts):
                step()
        except (ContractBroken, CandidateFailure) as error:
            outcome, reason = "rejected", str(error)
            if isinstance(error, CandidateFailure):
                records.append(Check(name=error.check, result="fail", detail=str(error)))
        except Inconclusive as error:
            outcome, reason = "inconclusive", str(error)
        except InfrastructureError as error:
            outcome, reason = "infrastructure", str(error)
        seconds = None if session.ready_at is None else round(time.monotonic() - session.ready_at, 2)
    return Said(outcome, reason, tuple(record for record in records if isinstance(record, Check)), seconds)


def _steps(session: Session, target: Target, parts: str) -> Iterator[Callable[[], None]]:
    spec = importlib.util.spec_from_file_location("contract", target.folder / "test_accuracy.py")
    assert spec is not None
    assert spec.loader is not None
    contract = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contract)
    for name, test in vars(contract).items():
        if name.startswith("test_"):
            with session.judging() as judge:
                yield lambda test=test, judge=judge: test(judge)
    for load in target.load if parts == "all" else ():
        with session.evaluating(None) as evaluator:
            yield lambda load=load, evaluator=evaluator: evaluator.measure(load.name)


def wanted(options: argparse.Namespace) -> list[Case]:
    """Members, runs and depths that are asked for and not in the file yet."""
    kinds = {"cheats": cheats, "honest": honest, "all": members}
    pool = kinds[options.kind]()
    chosen = [pool[name] for name in options.names or pool if name in pool]
    known = read(options.out)
    parts, profile = options.parts, options.profile
    cases = [Case(one.name, run, _depth(one, options), parts, profile) for run in range(options.runs) for one in chosen]
    return [case for case in cases if (case.name, case.run) not in known or options.again]


def _depth(member: Member, options: argparse.Namespace) -> str:
    return member.depth if options.depth == "auto" else str(options.depth)


def judged_all(cases: Sequence[Case], at_once: int, stop_after: float) -> Iterable[Judged]:
    """Judge cases in processes of their own until the time is up; those under way are finished."""
    until = time.monotonic() + stop_after
    with ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn")) as pool:
        running, left = [pool.submit(judged, case) for case in cases[:at_once]], list(cases[at_once:])
        while running:
            found = running.pop(0).result()
            if left and time.monotonic() < until:
                running.append(pool.submit(judged, left.pop(0)))
            yield found


def main() -> None:
    """Judge what is missing and say what was said of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=("cheats", "honest", "all"), default="all")
    parser.add_argument("--names", nargs="*", default=())
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--depth", choices=("auto", "quick", "full"), default="auto")
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--parts", choices=("accuracy", "all"), default="all")
    parser.add_argument("--stop-after", type=float, default=1e9, help="seconds after which no further member begins")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="judge also what is in the file")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a", encoding="utf-8") as out:
        for found in judged_all(wanted(options), options.at_once, options.stop_after):
            out.write(found.model_dump_json() + "\n")
            out.flush()
            print(f"{'ok   ' if found.right else 'WRONG'} {found.name} [{found.depth} {found.wall_s:.0f} s, "
                  f"{found.since_ready_s or 0:.1f} s from readiness] "
                  f"{found.outcome}: {found.reason[:150]}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
