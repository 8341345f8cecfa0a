"""What hints from outside and an insight say of faults that were planted: `python tests/benchmarks/planted.py`.

The candidate is the starter with its own loop, continuous batching and a compiled step.  Each fault costs about as much
as the next, so that clients see much the same; the table says where the hint that names the fault stands among those
from outside and among those of the profiled pass, and how long that pass took.  With --toml the findings are printed as
the cases of effects.toml, which hints.py replays.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "loop"), str(ROOT / "tests")]

from starter_edits import altered, improved  # noqa: E402

from pytest_vibeserve.bench import Bench  # noqa: E402
from pytest_vibeserve.blocks import Repeats, Runner  # noqa: E402
from pytest_vibeserve.ceiling import step_floor_s  # noqa: E402
from pytest_vibeserve.errors import InfrastructureError  # noqa: E402
from pytest_vibeserve.insight import Insight  # noqa: E402
from pytest_vibeserve.profiler import Observation, hints  # noqa: E402
from pytest_vibeserve.profiling import insight  # noqa: E402
from pytest_vibeserve.session import Session  # noqa: E402
from pytest_vibeserve.settings import read_settings  # noqa: E402
from pytest_vibeserve.target import load_target  # noqa: E402

BASE = ("static-kv-decode", "continuous-batching", "compiled-step:two-threads")
BLOCKS = 3
MOST_VOIDS = 8
"""Blocks in which the client was the bottleneck, on a machine that others use."""


@dataclass(frozen=True)
class Fault:
    """Edits that plant it, the hint that names it, and the techniques that would relieve it."""

    hint: str
    relieved_by: tuple[str, ...]
    edits: tuple[tuple[str, str, str], ...]


CHOOSE = "        if self._bias_ids.size:\n            logits = logits.copy()\n"
FRAME = '    return b"data: " + json.dumps(chunk).encode() + b"\\n\\n"\n'
STEP = "            self._library.model_step(\n"
AGAIN = "            for _ in range({times}):\n                self._library.model_step(\n"
FOLDER = "    folder = Path(__file__).resolve().parent\n"
FAULTS = {
    "nothing": Fault("", (), ()),
    "a sort for every token": Fault(
        "sampling-overhead", ("fast-sampling",),
        (("sampling.py", CHOOSE, "        for _ in range(2):\n            sorted(logits.tolist())\n" + CHOOSE),),
    ),
    "each event written eighty times": Fault(
        "http-overhead", ("lean-http",),
        (("answers.py", FRAME, "    for _ in range(80):\n        json.dumps(chunk)\n" + FRAME),),
    ),
    "one thread": Fault(
        "idle-cores", ("thread-layout:two-threads", "thread-layout:one-thread"),
        (("model.py", "THREADS = 2\n", "THREADS = 1\n"),),
    ),
    "prompts computed four times": Fault(
        "prefill-stall", ("chunked-prefill:budget-64", "prefix-cache"),
        (("model.py", STEP, AGAIN.format(times='4 if _phase(chunks) == "prefill" else 1')),),
    ),
    "steps computed three times": Fault(
        "batch-efficiency", ("compiled-step:two-threads",),
        (("model.py", STEP, AGAIN.format(times='3 if _phase(chunks) == "decode" else 1')),),
    ),
    "two streams at most": Fault(
        "serial-service", ("continuous-batching",), (("scheduler.py", "SLOTS = 16\n", "SLOTS = 2\n"),),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What was found of one fault: tokens a second at sixteen streams, hints from outside, and the insight."""

    throughput: float
    outside: tuple[tuple[str, float], ...]
    inside: Insight


def planted(base: Path, into: Path, fault: Fault) -> Path:
    """A copy of the base, already built, with a fault."""
    subprocess.run(["cp", "-r", str(base), str(into)], check=True)
    altered(into, *fault.edits)
    return into


def built(into: Path) -> Path:
    """The candidate without a fault; its library is there, so that no start has to compile it."""
    improved(load_target("tiny_llama").folder / "starter", into, *BASE)
    subprocess.run([sys.executable, "build.py"], cwd=into, check=True)
    altered(into, ("build.py", FOLDER, FOLDER + '    if (folder / "libstep.so").exists():\n        return 0\n'))
    return into


def observed(bench: Bench, load: str) -> Observation:
    """A few blocks of one load."""
    runner = Runner(bench, bench.target.load_named(load))
    runner.warm_up()
    repeats, before = Repeats(runner, BLOCKS), bench.server.cpu_seconds()
    voids = 0
    while not repeats.is_over:
        try:
            repeats.timed()
        except InfrastructureError:
            voids += 1
            if voids == MOST_VOIDS:
                raise
    after = bench.server.cpu_seconds()
    used = None if before is None or after is None else after - before
    return Observation(bench.target.load_named(load).concurrency, tuple(repeats.blocks), used)


def looked_at(folder: Path) -> Seen:
    """Both kinds of hint for one candidate; nothing of it is judged."""
    given = {"target": "tiny_llama", "candidate": str(folder), "depth": "quick"}
    settings = read_settings(lambda name: given.get(name, ""), ROOT)
    with closing(Session(settings, lambda record: None)) as session:
        bench = session.bench
        seen = {load: observed(bench, load) for load in ("c1", "c16")}
        outside = hints(seen, partial(step_floor_s, bench.contract.model), os.cpu_count() or 1)
        told = tuple((one.name, round(one.value, 2)) for one in outside)
        bench.server.pause()
        inside = insight(bench, bench.target.load_named("c16"))
        return Seen(seen["c16"].throughput, told, inside)


def place(hint: str, told: Sequence[tuple[str, float]]) -> str:
    """Where a hint stands among others, the largest first, with its value and that of the best other."""
    order = sorted(told, key=lambda one: -one[1])
    names = [name for name, _ in order]
    if hint not in names:
        return "not told"
    others = [value for name, value in order if name != hint]
    return f"{1 + names.index(hint)} of {len(order)} ({dict(order)[hint]:.2f}, best other {max(others):.2f})"


def main() -> None:
    """Plant each fault and print what was said of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", action="append", choices=list(FAULTS))
    parser.add_argument("--toml", type=Path, help="write the cases of effects.toml there")
    asked = parser.parse_args()
    print("| planted | tokens/s | hint | outside | inside | took, s |\n|---|---|---|---|---|---|")
    cases: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        base = built(Path(scratch) / "base")
        whole = 0.0
        for number, name in enumerate(asked.only or FAULTS):
            fault = FAULTS[name]
            seen = looked_at(planted(base, Path(scratch) / f"fault-{number}", fault))
            whole = whole or seen.throughput
            where = [place(fault.hint, told) if fault.hint else "-" for told in (seen.outside, seen.inside.gains)]
            cells = (name, f"{seen.throughput:.0f}", fault.hint or "-", *where, f"{seen.inside.took_s:.1f}")
            print(f"| {' | '.join(cells)} |", flush=True)
            print(f"{seen.outside}\n{seen.inside.model_dump_json(exclude={'operators'})}", file=sys.stderr, flush=True)
            cases.append(case(name, fault, whole / seen.throughput, seen))
            if asked.toml:
                asked.toml.write_text("\n".join(cases), encoding="utf-8")


def case(name: str, fault: Fault, factor: float, seen: Seen) -> str:
    """One case of effects.toml."""
    tables = [", ".join(f"{hint} = {value:.3g}" for hint, value in told) for told in (seen.outside, seen.inside.gains)]
    relieved = ", ".join(f'"{one}"' for one in fault.relieved_by)
    return (
        f'[[case]]\nplanted = "{name}"\nrelieved_by = [{relieved}]\nfactor = {factor:.2f}\n'
        f"hints = {{ {tables[0]} }}\ngains = {{ {tables[1]} }}\n"
    )


if __name__ == "__main__":
    main()
