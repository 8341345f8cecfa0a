"""Compare CPU time per request of each scenario's candidate and its starter, for a machine too busy for the clock.

    python tests/benchmarks/cpu_time.py [--only TARGET ...] [--requests 24] [--repeats 3]

The candidate is that of `scenarios.py`.  Both servers are started as the gate starts them and get the same fresh
requests of the profile `tiny`, at the concurrency of the headline's load (of load `whole` for speech), in turns.
Answers are not judged here.  CPU time counts waiting in a spin as work, and says nothing of latency.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests"), str(ROOT)]

from scenarios import SKILLS, written  # noqa: E402

from pytest_vibeserve.load_generator import LoadGenerator  # noqa: E402
from pytest_vibeserve.server import Server  # noqa: E402
from pytest_vibeserve.session import Session  # noqa: E402
from pytest_vibeserve.settings import Settings  # noqa: E402
from pytest_vibeserve.target import Target, load_target  # noqa: E402


def main() -> None:
    """Measure every target that is asked for and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(SKILLS), choices=list(SKILLS))
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for name in options.only:
        target = load_target(str(ROOT / "targets" / name), "tiny")
        told = compared(target, options.requests, options.repeats)
        each = [statistics.median(values) * 1e3 / options.requests for values in told]
        ratios = sorted(first / second for first, second in zip(*told, strict=True))
        spread = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        middle = statistics.median(ratios)
        print(f"| `{name}` | {each[0]:.1f} ms | {each[1]:.1f} ms | {middle:.2f}x ({spread}) |", flush=True)


def compared(target: Target, requests: int, repeats: int) -> tuple[list[float], list[float]]:
    """CPU seconds of starter and candidate for the same requests, one of each a repeat."""
    load = target.load_named("whole") if target.modality == "speech" else target.load_named(target.headline.load)
    with tempfile.TemporaryDirectory(prefix="vibeserve-cpu-") as place, ExitStack() as stack:
        candidate = Path(place) / "candidate"
        written(target.name, candidate)
        sessions = [
            stack.enter_context(closing(opened(target, folder))) for folder in (target.starter_folder, candidate)
        ]
        found: tuple[list[float], list[float]] = ([], [])
        for repeat in range(-1, repeats):
            order = (0, 1) if repeat % 2 else (1, 0)
            for index in order:
                count = requests if repeat >= 0 else max(2, load.concurrency)
                seconds = used(sessions[index], random.Random(repeat), count, load.concurrency)
                # The first turn is for warming up.
                found[index].extend([seconds] if repeat >= 0 else [])
        return found


def opened(target: Target, folder: Path) -> Session:
    """A gate's session for one folder."""
    report = Path(tempfile.gettempdir()) / "unused.json"
    settings = Settings(target, folder, "", None, "quick", report, None, None, "")
    return Session(settings, lambda record: None)


def used(session: Session, draws: random.Random, count: int, concurrency: int) -> float:
    """CPU seconds that a server takes for fresh requests; all must be answered."""
    wire, server = session.contract.wire, session.server
    assert isinstance(server, Server)
    limit = session.contract.target.limits.longest_wait_s
    exchanges = [wire.exchange(request, 10 * limit) for request in wire.fresh(draws, count)]
    before = server.cpu_seconds()
    with LoadGenerator(server.host, server.port, server.netns_pid) as generator:
        replies = generator.closed(exchanges, concurrency).replies
    wrong = [reply for reply in replies if reply.error or reply.status != 200]
    assert not wrong, wrong[0]
    return server.cpu_seconds() - before


if __name__ == "__main__":
    main()
