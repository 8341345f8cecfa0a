"""In how many rounds the recipes agent finds its winner: told nothing, told hints from outside, and told an insight.

    python tests/benchmarks/hints.py [--seeds 40] [--rounds 24] [--policy plain] [--share 0.75]

The winner is code with that share of the best gain known: all three techniques that each multiply the throughput,
whatever of the small ones (4 to 8 per cent) the noise of a quick gate lets through.

The loop is the real one, with its own agent's order of plans; the gate replays effects.toml, whose hints and insights
real gates measured on the code of each stage.  Nothing is served.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from policies import Result, best_known, replayed

SEEN = {"nothing": "no hints", "outside": "hints from outside", "inside": "hints and insight"}


def line(name: str, found: list[Result], rounds: int) -> str:
    """One row; a run that did not get there counts as one round more than it was allowed."""
    reach = [rounds + 1 if r.reach is None else r.reach for r in found]
    there = sum(r.reach is not None for r in found)
    quartiles = statistics.quantiles(reach, n=4)
    gain, judged = statistics.median(r.gain for r in found), statistics.fmean(r.judged for r in found)
    return (
        f"| {name} | {len(found)} | {statistics.fmean(reach):.1f} | {quartiles[1]:.0f} [{quartiles[0]:.0f}, "
        f"{quartiles[2]:.0f}] | {there} | x{gain:.1f} | {judged:.1f} |"
    )


def main() -> None:
    """Run every arm over the same seeds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--share", type=float, default=0.75)
    parser.add_argument("--only", choices=list(SEEN), action="append", help="one row")
    parser.add_argument("--policy", default="plain", choices=["plain", "agent", "evolve"])
    options = parser.parse_args()
    heads = (
        options.policy, "runs", f"judged rounds to x{options.share * best_known():.1f}, mean", "median [quartiles]",
        "runs that got there", "gain, median", "judged rounds",
    )  # fmt: skip
    print(f"| {' | '.join(heads)} |\n{'|-' * len(heads)}|")
    with tempfile.TemporaryDirectory() as scratch:
        for seen in options.only or SEEN:
            found = [
                replayed(options.policy, False, seed, options.rounds, Path(scratch), seen=seen, share=options.share)
                for seed in range(options.seeds)
            ]
            print(line(SEEN[seen], found, options.rounds), flush=True)


if __name__ == "__main__":
    main()
