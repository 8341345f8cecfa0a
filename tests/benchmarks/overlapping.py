"""How much of the ideal many sessions at once reach: sleeping agents, a stub gate, everything else as in a real run.

    python tests/benchmarks/overlapping.py [--workers 4] [--rounds 40] [--agent-s 0.5] [--gate-s 0] [--devices 4]

The ideal is the work over the workers (or the gates over the devices, where those are the longer queue), with nothing
for proposing, briefs, git, records and fsync.  Times count from the end of the starter's round to the last record.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "loop"), str(REPOSITORY / "tests" / "loop")]

from loop_lab import new_lab  # noqa: E402
from round_lab import assessed  # noqa: E402

from pytest_vibeserve.target import load_target  # noqa: E402
from vibeserve_loop import resolve  # noqa: E402
from vibeserve_loop.engine import Search  # noqa: E402
from vibeserve_loop.ledger.history import History  # noqa: E402
from vibeserve_loop.ledger.runs import create  # noqa: E402
from vibeserve_loop.machine.devices import Device, Devices  # noqa: E402
from vibeserve_loop.records import AgentResult, Knobs, Round, Settings  # noqa: E402
from vibeserve_loop.roles import Charter, Crew  # noqa: E402
from vibeserve_loop.workshop import Workshop  # noqa: E402
from vibeserve_loop.workspace import Workspace  # noqa: E402


class SleepingAgent:
    """Takes its time, then writes a line that no other round wrote."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def work(self, brief, desk):  # type: ignore[no-untyped-def]
        """Edit one file."""
        time.sleep(self._seconds)
        (desk.folder / "speed").write_text(f"{100 + brief.number / 1000}")
        return AgentResult(summary="one line", techniques=(f"t{brief.number}",))


class SleepingGate:
    """Takes its time and shows no difference; notes when it measured where."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.spans: list[tuple[str, float, float]] = []

    def assess(self, case):  # type: ignore[no-untyped-def]
        """Answer after a while."""
        began = time.monotonic()
        time.sleep(self._seconds)
        self.spans.append((str(case.device), began, time.monotonic()))
        return assessed(1.0)


def main() -> int:
    """Run once and print the share of the ideal; ends with 1 when two gates shared a device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--agent-s", type=float, default=0.5)
    parser.add_argument("--gate-s", type=float, default=0.0)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--policy", default="plain")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        took_s, rounds, shared = measured(options, Path(scratch))
    waves = math.ceil(rounds / options.workers) * (options.agent_s + options.gate_s)
    ideal_s = max(waves, math.ceil(rounds / options.devices) * options.gate_s)
    print(
        f"{rounds} rounds, {options.workers} workers, agents {options.agent_s} s, gates {options.gate_s} s on "
        f"{options.devices} devices: {took_s:.3f} s, ideal {ideal_s:.3f} s, {ideal_s / took_s:.1%}; "
        f"{shared} gates shared a device"
    )
    return 1 if shared else 0


def measured(options: argparse.Namespace, folder: Path) -> tuple[float, int, int]:
    """Seconds from the starter's record to the last one, rounds of work, and gates that shared a device."""
    target = load_target(str(new_lab(folder).target))
    knobs = Knobs(patience=10**6, max_attempts_per_issue=10**6)
    settings = Settings(
        id="run", created=1.7e9, target=str(target.folder), knobs=knobs, max_rounds=options.rounds,
        policy=options.policy, workers=options.workers,
    )  # fmt: skip
    run = create(settings, folder / "runs")
    gate = SleepingGate(options.gate_s)
    devices = Devices([Device(gpus=(f"stub-{number}",)) for number in range(options.devices)], folder / "locks")
    crew = Crew((("sleeping", SleepingAgent(options.agent_s)),))
    shop = Workshop(
        settings, run, target, History(run.rounds, repair=True), Workspace(run.workspace), gate,  # type: ignore[arg-type]
        crew, resolve.sandbox("none"), devices,
    )  # fmt: skip
    charter = Charter(knobs=knobs, objectives=target.objective, seed=1)
    ends = []
    for event in Search(shop, resolve.policy(options.policy, charter)).events():
        if isinstance(event, Round) and event.task.kind in ("starter", "work"):
            ends.append(time.perf_counter())
    return ends[-1] - ends[0], len(ends) - 1, _shared(gate.spans)


def _shared(spans: list[tuple[str, float, float]]) -> int:
    ordered = sorted(spans)
    pairs = itertools.pairwise(ordered)
    return sum(one[0] == other[0] and other[1] < one[2] for one, other in pairs)


if __name__ == "__main__":
    sys.exit(main())
