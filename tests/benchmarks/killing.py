"""Kill -9 at random points, resume each, and compare with the undisturbed run: decisions, code and briefs.

    python tests/benchmarks/killing.py [--points 200] [--seed 0]

Victims in turn: the engine, everything at once, the agent, the gate, git, and the engine in the middle of a write;
policies in turn: plain, agent, evolve; one worker and three in turn; PYTHONHASHSEED in turn: 0, 1, 4242.  Ends with 1
when any run differs.
"""

from __future__ import annotations

import argparse
import collections
import math
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests" / "loop")]

import kill_lab  # noqa: E402


def main() -> int:
    """Try every point and print what went wrong, if anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="leave out the points before this one")
    parser.add_argument("--stop-after", type=float, default=math.inf, help="begin no point after so many seconds")
    options = parser.parse_args()
    began = time.monotonic()
    wrong: list[str] = []
    tried: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        lab = kill_lab.laboratory(Path(scratch))
        undisturbed = kill_lab.Undisturbed(lab)
        for point in kill_lab.points(options.points, options.seed)[options.first :]:
            if time.monotonic() - began > options.stop_after:
                break
            whole, duration_s = undisturbed.run(point.policy, point.workers)
            folder, trouble = kill_lab.disturbed(lab, point, duration_s)
            trouble = trouble or kill_lab.difference(folder, whole, point.victim)
            tried[point.victim] += 1
            print(".", end="", file=sys.stderr, flush=True)
            if trouble:
                wrong.append(f"{point}: {trouble}")
                print(f"WRONG {point}: {trouble}", flush=True)
            else:
                kill_lab.clear(folder)
    count = sum(tried.values())
    print(f"from point {options.first}: {count} points ({dict(tried)}): {len(wrong)} differ from the undisturbed run")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
