"""The sequential comparison on real servers with a known difference: `python tests/benchmarks/decisions_real.py DIR`.

The candidate in DIR (its target's starter by default) against a copy of itself, as it is or slowed by a known factor.
Each sitting starts both afresh and holds several contests one after another, each decided by itself with the gate's own
code, at the alpha of a round of forty unless `--alone`; the accuracy contract is left out.  Told `--seconds N` it
begins nothing new after that time.  What other programs do on the machine meanwhile is in the result; a round that a
gate would call void (the load client was the bottleneck, a server did not answer) is counted as void.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "loop")]

from pytest_vibeserve.bench import Bench  # noqa: E402
from pytest_vibeserve.blocks import Runner  # noqa: E402
from pytest_vibeserve.comparison import Contest, Names, Rule  # noqa: E402
from pytest_vibeserve.errors import CandidateFailure, InfrastructureError  # noqa: E402
from pytest_vibeserve.evaluator import Rival  # noqa: E402
from pytest_vibeserve.report import Comparison  # noqa: E402
from pytest_vibeserve.session import Session  # noqa: E402
from pytest_vibeserve.settings import read_settings  # noqa: E402
from pytest_vibeserve.statistics import ALPHA  # noqa: E402
from pytest_vibeserve.stopping import EFFORTS  # noqa: E402
from pytest_vibeserve.target import load_target  # noqa: E402
from vibeserve_loop.decision import alpha_for  # noqa: E402
from vibeserve_loop.records import Task  # noqa: E402

SLOWED = Path(__file__).with_name("slowed.py")
ROUNDS = 40
EARLY_PAIRS = 6


@dataclass(frozen=True)
class Pair:
    """What is compared: the target, a candidate, a copy of it, and the chance of a wrong "better"."""

    target: str
    profile: str
    candidate: Path
    baseline: Path
    alpha: float


def copied(candidate: Path, into: Path, factor: float) -> Path:
    """A copy of a candidate, slowed by a factor where that is above 1."""
    shutil.copytree(candidate, into, ignore=shutil.ignore_patterns("__pycache__"))
    if factor > 1:
        shutil.copy(SLOWED, into / SLOWED.name)
        table = (into / "candidate.toml").read_text(encoding="utf-8")
        command = ["python", SLOWED.name, str(factor), *tomllib.loads(table)["serve"]["command"]]
        lines = [line for line in table.splitlines() if not (line.startswith("command") and "{model}" in line)]
        lines.insert(lines.index("[serve]") + 1, f"command = {command!r}".replace("'", '"'))
        (into / "candidate.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return into


def sitting(pair: Pair, contests: int, until: float) -> Iterator[Comparison | str]:
    """Both servers started afresh, and so many contests between them."""
    given = {
        "target": pair.target, "profile": pair.profile, "candidate": str(pair.candidate),
        "baseline": str(pair.baseline), "depth": "quick", "alpha": str(pair.alpha),
    }  # fmt: skip
    settings = read_settings(lambda name: given.get(name, ""), ROOT)
    target = settings.target
    load = target.load_named(target.headline.load)
    with closing(Session(settings, lambda record: None)) as session:
        bench, rival = session.bench, session.rival
        assert rival is not None
        bench.server.pause()
        rival.bench.server.pause()
        ours, theirs = Runner(bench, load, pausing=True), Runner(rival.bench, load, pausing=True, rival=rival.name)
        ours.warm_up()
        theirs.warm_up()
        ends = min(until, bench.contract.deadline - EFFORTS["quick"].seconds)
        for _ in range(contests):
            if time.monotonic() > ends:
                return
            yield contested(bench, (ours, theirs), rival, pair.alpha)


def contested(bench: Bench, runners: tuple[Runner, Runner], rival: Rival, alpha: float) -> Comparison | str:
    """One contest, or why it says nothing: then both servers sleep again, as before it."""
    rule = Rule((bench.target.headline,), alpha, EFFORTS["quick"])
    contest = Contest(*runners, rule, bench.draws("order of blocks"))
    try:
        while not contest.is_over:
            contest.before()
            contest.timed()
            contest.after()
    except InfrastructureError as failure:
        bench.server.pause()
        rival.bench.server.pause()
        return str(failure)[:120]
    return contest.comparison(Names(rival.name, rival.tree))


def held(pair: Pair, contests: int, until: float) -> Iterator[Comparison | str]:
    """The contests of a sitting; one that says nothing of the candidate ends it with the reason."""
    try:
        yield from sitting(pair, contests, until)
    except (CandidateFailure, InfrastructureError) as failure:
        yield str(failure)[:120]


def interval(count: int, of: int) -> str:
    """A share with its exact 95 % interval (Clopper and Pearson, by bisection of the binomial's tails)."""
    from math import comb

    def tail(share: float, least: int) -> float:
        return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(least, of + 1))

    def solved(least: int, level: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, least) < level else (low, middle)
        return low

    low = solved(count, 0.025) if count else 0.0
    high = solved(count + 1, 0.975) if count < of else 1.0
    return f"{count} of {of} [{low:.0%}, {high:.0%}]"


def told(factor: float, rounds: list[Comparison | str]) -> str:
    """One line of what was said of one factor; rounds that were void count in no share."""
    found = [one for one in rounds if not isinstance(one, str)]
    if not found:
        return f"| {factor:g} | - | - | - | - | - | - | {len(rounds)} |"
    said = [one.conclusion for one in found]
    early = sum(one.conclusion == "better" and one.pairs <= EARLY_PAIRS for one in found)
    noise = sorted(one.noise or 0.0 for one in found)
    pairs = sorted(one.pairs for one in found)
    cells = [interval(said.count(word), len(said)) for word in ("better", "no difference shown", "worse")]
    cells += [
        interval(early, len(said)),
        f"{pairs[len(pairs) // 2]}",
        f"{noise[0]:.1%} to {noise[-1]:.1%}",
        f"{len(rounds) - len(found)}",
    ]
    return f"| {factor:g} | {' | '.join(cells)} |"


def main() -> None:
    """Print one line a comparison, and what was said how often."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("candidate", type=Path, nargs="?", help="a candidate's folder")
    parser.add_argument("--target", default="tiny_llama")
    parser.add_argument("--profile", default="full")
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 1.0, 1.05, 1.0, 1.2])
    parser.add_argument("--contests", type=int, default=10, help="in a sitting")
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--alone", action="store_true", help="by the alpha of one comparison, not of a round of forty")
    asked = parser.parse_args()
    until = time.monotonic() + asked.seconds
    candidate = (asked.candidate or load_target(asked.target, asked.profile).folder / "starter").resolve()
    alpha = ALPHA if asked.alone else alpha_for(Task(kind="work"), (), ROUNDS)
    assert alpha is not None
    print("| true factor | sitting | gain | interval | conclusion | pairs | dropped | noise | ended | foreign |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    found: dict[float, list[Comparison | str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        number = 0
        while time.monotonic() < until:
            factor = asked.factors[number % len(asked.factors)]
            number += 1
            baseline = copied(candidate, Path(scratch) / f"slower-{factor:g}-{number}", factor)
            pair = Pair(asked.target, asked.profile, candidate, baseline, alpha)
            for one in held(pair, asked.contests, until):
                found.setdefault(factor, []).append(one)
                if isinstance(one, str):
                    print(f"| {factor:g} | {number} | void: {one} |", flush=True)
                    continue
                taken = f"{one.conditions.foreign:.0%}" if one.conditions else "-"
                print(
                    f"| {factor:g} | {number} | {one.gain:.3f} | {one.low:.3f} to {one.high:.3f} | {one.conclusion} "
                    f"| {one.pairs} | {one.dropped} | {one.noise:.1%} | {one.ended} | {taken} |",
                    flush=True,
                )
    print("\n| true factor | better | no difference | worse | better within 6 pairs | median pairs | noise | void |")
    print("|---|---|---|---|---|---|---|---|")
    for factor in sorted(found):
        print(told(factor, found[factor]))


if __name__ == "__main__":
    main()
