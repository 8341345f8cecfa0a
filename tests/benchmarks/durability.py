"""What a round costs beside its agent and its gate: milliseconds, memory and files, with everything on disk each round.

    python tests/benchmarks/durability.py [ROUNDS ...] [--policy NAME] [--profile]

Each count of rounds is a process of its own.  The agent writes one line, the gate is a function; both are timed and
taken away.  What is left: proposing, brief, git, export of the candidate, the fsynced line, the log of events, the
line of progress.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "loop"), str(REPOSITORY / "tests" / "loop")]


class TimedAgent:
    """Writes a line that no other round wrote."""

    spent = 0.0

    def work(self, brief, desk):  # type: ignore[no-untyped-def]
        """Edit one file."""
        from vibeserve_loop.records import AgentResult

        began = time.perf_counter()
        (desk.folder / "speed").write_text(f"{100 + brief.number / 1000}")
        self.spent += time.perf_counter() - began
        return AgentResult(summary="one line", techniques=(f"t{brief.number}",))


class TimedGate:
    """Accepts every eighth candidate."""

    spent, judged = 0.0, 0

    def assess(self, case):  # type: ignore[no-untyped-def]
        """Answer at once."""
        from round_lab import assessed

        began = time.perf_counter()
        self.judged += 1
        found = assessed(1.04 if self.judged % 8 == 1 else 1.0, value=100.0 + self.judged)
        self.spent += time.perf_counter() - began
        return found


def measure(rounds: int, policy: str, folder: Path) -> dict[str, float]:
    """Run so many rounds in this process; milliseconds a round over all, in the first and the last quarter."""
    from loop_lab import new_lab

    from pytest_vibeserve.target import load_target
    from vibeserve_loop import resolve
    from vibeserve_loop.engine import Search
    from vibeserve_loop.ledger.history import History
    from vibeserve_loop.ledger.runs import create
    from vibeserve_loop.options import Sinks
    from vibeserve_loop.records import Knobs, Round, Settings
    from vibeserve_loop.roles import Charter, Crew
    from vibeserve_loop.showing.events import told_to
    from vibeserve_loop.showing.progress_file import progress_of
    from vibeserve_loop.workshop import Workshop
    from vibeserve_loop.workspace import Workspace

    target = load_target(str(new_lab(folder).target))
    knobs = Knobs(patience=10**6, max_attempts_per_issue=10**6)
    settings = Settings(
        id="run", created=1.7e9, target=str(target.folder), knobs=knobs, max_rounds=rounds, policy=policy
    )
    run = create(settings, folder / "runs")
    agent, gate = TimedAgent(), TimedGate()
    charter = Charter(knobs=knobs, objectives=target.objective, seed=1)
    parts = (Crew((("timed", agent),)), resolve.sandbox("none"))
    history = History(run.rounds, repair=True)
    shop = Workshop(settings, run, target, history, Workspace(run.workspace), gate, *parts)  # type: ignore[arg-type]
    search = Search(shop, resolve.policy(policy, charter))
    nets: list[float] = []
    with told_to(Sinks(), settings, run.log) as tell, progress_of(run, target.name, history.rounds) as note:
        mark, busy = time.perf_counter(), 0.0
        for event in search.events():
            note(event)
            tell(event)
            if isinstance(event, Round):
                now, spent = time.perf_counter(), agent.spent + gate.spent
                nets.append((now - mark - (spent - busy)) * 1e3)
                mark, busy = now, spent
    nets = nets[1:-1]
    quarter = max(1, len(nets) // 4)
    # Before anything is listed here, for a list of thousands of paths is no part of a run.
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    files = [path for path in run.path.rglob("*") if path.is_file()]
    return {
        "rounds": len(nets),
        "net ms/round": sum(nets) / len(nets),
        "median": sorted(nets)[len(nets) // 2],
        "first quarter": sum(nets[:quarter]) / quarter,
        "last quarter": sum(nets[-quarter:]) / quarter,
        "peak MB": peak_mb,
        "kB/round on disk": sum(path.stat().st_size for path in files) / 1024 / len(nets),
        "files/round": len(files) / len(nets),
    }


def bare_mb(first: str) -> float:
    """Peak memory of an interpreter that does nothing but to import that."""
    code = f"import {first}, resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) / 1024


def main() -> None:
    """Measure each count of rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--policy", default="plain")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        if options.profile:
            import cProfile

            cProfile.runctx("measure(n, p, f)", {"measure": measure, "n": options.rounds[0], "p": options.policy,
                            "f": Path(scratch)}, {}, sort="cumulative")  # fmt: skip
            return
        if options.one:
            print(json.dumps(measure(options.one, options.policy, Path(scratch))))
            return
    bare, git = bare_mb("sys"), bare_mb("git")
    print(f"{options.policy}; bare interpreter {bare:.1f} MB, with GitPython {git:.1f} MB; fsync {fsync_ms():.2f} ms")
    for count in options.rounds:
        command = [sys.executable, __file__, "--one", str(count), "--policy", options.policy]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        found |= {"MB beyond bare": found["peak MB"] - bare, "beyond git": found["peak MB"] - git}
        print("  ".join(f"{name} {value:.2f}" for name, value in found.items()))


def fsync_ms() -> float:
    """What one small append with fsync takes in the folder where runs are written."""
    with tempfile.TemporaryFile() as stream:
        began = time.perf_counter()
        for _ in range(50):
            stream.write(b"x" * 500)
            stream.flush()
            os.fsync(stream.fileno())
        return (time.perf_counter() - began) / 50 * 1e3


if __name__ == "__main__":
    main()
