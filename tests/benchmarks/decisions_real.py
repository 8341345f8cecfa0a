"""The sequential comparison on real servers with a known difference: `python tests/benchmarks/decisions_real.py DIR`.

Each line is one gate of its own, so two fresh servers: the candidate in DIR (its target's starter by default) against
a copy of itself, as it is or slowed by a known factor. Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pytest_vibeserve.report import Comparison, read_report  # noqa: E402
from pytest_vibeserve.target import Target, load_target  # noqa: E402

SLOWED = Path(__file__).with_name("slowed.py")
LONGEST_S = 600


def copied(candidate: Path, into: Path, factor: float) -> Path:
    """A copy of a candidate, slowed by a factor where that is above 1."""
    shutil.copytree(candidate, into, ignore=shutil.ignore_patterns("__pycache__"))
    if factor > 1:
        shutil.copy(SLOWED, into / SLOWED.name)
        table = (into / "candidate.toml").read_text(encoding="utf-8")
        command = ["python", SLOWED.name, str(factor), *tomllib.loads(table)["serve"]["command"]]
        lines = [line for line in table.splitlines() if not line.startswith("command")]
        lines.insert(lines.index("[serve]") + 1, f"command = {command!r}".replace("'", '"'))
        (into / "candidate.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return into


def compared(target: Target, candidate: Path, baseline: Path, depth: str) -> Comparison:
    """One gate, its accuracy contract left out."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        options = {
            "target": target.folder, "candidate": candidate, "baseline": baseline, "profile": target.profile,
            "depth": depth, "report": report,
        }  # fmt: skip
        stated = [f"--vibeserve-{name}={value}" for name, value in options.items()]
        suite = str(target.folder / "test_performance.py")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *stated, suite, "-k", target.headline.load]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        found = read_report(report).comparison if report.exists() else None
    if found is None:
        raise SystemExit(f"the gate made no comparison:\n{ended.stdout}{ended.stderr}")
    return found


def main() -> None:
    """Print one line a comparison, and what was said how often."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("candidate", type=Path, nargs="?", help="a candidate's folder")
    parser.add_argument("--target", default="tiny_llama")
    parser.add_argument("--profile", default="full")
    parser.add_argument("--depth", default="quick", choices=["quick", "full"])
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 1.05, 1.2])
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    target = load_target(asked.target, asked.profile)
    candidate = asked.candidate or target.folder / "starter"
    print("| true factor | gain | interval | conclusion | pairs | dropped | noise | ended | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    said: Counter[tuple[float, str]] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        for factor in asked.factors:
            baseline = copied(candidate, Path(scratch) / f"slower-{factor:g}", factor)
            for _ in range(asked.repeats):
                began = time.monotonic()
                one = compared(target, candidate, baseline, asked.depth)
                said[factor, one.conclusion] += 1
                print(
                    f"| {factor:g} | {one.gain:.3f} | {one.low:.3f} to {one.high:.3f} | {one.conclusion} | {one.pairs} "
                    f"| {one.dropped} | {one.noise:.1%} | {one.ended} | {time.monotonic() - began:.0f} |",
                    flush=True,
                )
    for (factor, conclusion), count in sorted(said.items()):
        print(f"factor {factor:g}: {conclusion} {count} of {asked.repeats}")


if __name__ == "__main__":
    main()
