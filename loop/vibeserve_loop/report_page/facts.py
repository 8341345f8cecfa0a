"""What a page tells of one run: pure looks at its records, no markup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_vibeserve.errors import VibeserveError
from pytest_vibeserve.report import Measurement, Report, read_report
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.records import Round, Settings
from vibeserve_loop.workspace import Workspace

Key = tuple[str, str]
"""An objective: its metric and its load."""

LONGEST_PATCH = 200_000
"""Characters of a patch that are read at all."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as it was recorded: settings, rounds, and of each round the gate's whole report and the patch, if any."""

    folder: RunFolder
    settings: Settings
    rounds: tuple[Round, ...]
    reports: tuple[tuple[int, Report], ...]
    patches: tuple[tuple[int, str], ...]

    @property
    def id(self) -> str:
        """The run's name."""
        return self.folder.id

    def patch(self, record: Round) -> str:
        """What a round of work changed, "" where it changed nothing."""
        return next((patch for number, patch in self.patches if number == record.round), "")

    def report(self, record: Round) -> Report | None:
        """The gate's report of a round, None where there is none."""
        return next((report for number, report in self.reports if number == record.round), None)


@dataclass(frozen=True, slots=True)
class Standing:
    """A round's gain over the starter, with its interval, by the gains of the code that it was built on."""

    record: Round
    gain: float
    low: float
    high: float


def read_run(folder: RunFolder) -> Run:
    """Everything of a run; a report that is missing or damaged leaves its round without one."""
    rounds = folder.history().rounds
    found = []
    for record in rounds:
        path = folder.round(record.round) / "report.json"
        report = _report(folder, record) if path.is_file() else None
        if report is not None:
            found.append((record.round, report))
    return Run(folder, folder.settings(), rounds, tuple(found), tuple(_patches(folder, rounds)))


def _patches(folder: RunFolder, rounds: Sequence[Round]) -> Iterator[tuple[int, str]]:
    workspace = Workspace(folder.workspace)
    for record in rounds:
        if record.task.kind == "work" and record.commit:
            try:
                patch = workspace.diff(rounds[record.task.base].commit, record.commit)
            except VibeserveError as error:
                patch = f"the patch cannot be read: {error}"
            yield record.round, patch[:LONGEST_PATCH]


def _report(folder: RunFolder, record: Round) -> Report | None:
    try:
        return read_report(folder.round(record.round) / "report.json")
    except VibeserveError:
        # The record in rounds.jsonl is what counts; the page says that the report is not there.
        return None


def standings(rounds: Sequence[Round]) -> list[Standing]:
    """Every judged round's gain over the starter: the starter itself is 1."""
    found = []
    for record in rounds:
        measured = record.assessment
        if measured is None or measured.headline is None:
            continue
        if record.task.kind == "starter":
            found.append(Standing(record, 1.0, 1.0, 1.0))
        elif measured.comparison is not None and record.task.kind in ("work", "final"):
            found.append(Standing(record, *lineage.gain_over_starter(rounds, record)))
    return found


def incumbents(found: Sequence[Standing]) -> tuple[tuple[float, float], ...]:
    """Where the best kept gain changes: (round, gain), the starter first."""
    steps: list[tuple[float, float]] = []
    for standing in found:
        kept = standing.record.task.kind == "starter" or (
            standing.record.task.kind == "work" and standing.record.decision.ruling == "accept"
        )
        if kept and (not steps or standing.gain > steps[-1][1]):
            steps.append((float(standing.record.round), standing.gain))
    return tuple(steps)


def champion(run: Run) -> Round | None:
    """The round whose measurements stand for the run: the confirmed winner's final gate, else the best kept, if any."""
    return lineage.winner(run.rounds) or lineage.incumbent(run.rounds)


def measured(record: Round | None) -> dict[Key, Measurement]:
    """A round's measurements by metric and load."""
    found = record.assessment.measurements if record and record.assessment else ()
    return {(one.metric, one.load): one for one in found}


def rivals(run: Run) -> tuple[Key, Key] | None:
    """The two objectives of the Pareto picture: the headline, and the most unlike it of those most often compared.

    That is the first which pulls the other way, else one of another kind of latency, else one at the same load.
    """
    first = measured(lineage.starter(run.rounds))
    headline = next((key for key, one in first.items() if one.headline), None)
    compared = Counter(key for record in run.rounds for key in _compared(record))
    if headline is None or headline not in compared:
        return None
    others = sorted(
        (key for key in first if compared[key] and key != headline),
        key=lambda key: (-compared[key], *_likeness(first, headline, key)),
    )
    return (headline, others[0]) if others else None


def trade_off(run: Run, keys: tuple[Key, Key]) -> list[tuple[Standing, Standing]]:
    """Each round's gains over the starter on two objectives, by the comparisons on the way to it; the starter's are 1.

    Stored values are not held against each other: they were measured at different times.
    """
    found = []
    for record in run.rounds:
        if record.task.kind == "starter" and record.decision.ruling == "accept":
            found.append((Standing(record, 1.0, 1.0, 1.0), Standing(record, 1.0, 1.0, 1.0)))
        elif record.task.kind in ("work", "final") and _compared(record):
            gains = [lineage.objective_gain(run.rounds, record, key) for key in keys]
            if gains[0] and gains[1]:
                found.append((Standing(record, *gains[0]), Standing(record, *gains[1])))
    return found


def beaten(points: Sequence[tuple[Standing, Standing]]) -> frozenset[int]:
    """Numbers of the points that another stands above in both gains by whole intervals."""
    return frozenset(
        number
        for number, mine in enumerate(points)
        if any(all(a.low > b.high for a, b in zip(other, mine, strict=True)) for other in points)
    )


def _compared(record: Round) -> list[Key]:
    found = record.assessment.comparison if record.assessment else None
    return [(gain.metric, gain.load or found.load) for gain in found.objectives] if found else []


def _likeness(first: dict[Key, Measurement], headline: Key, key: Key) -> tuple[bool, bool, bool]:
    kinds = [metric.rpartition("_p")[0] or metric for metric, _ in (headline, key)]
    return first[key].direction == first[headline].direction, kinds[0] == kinds[1], key[1] != headline[1]
