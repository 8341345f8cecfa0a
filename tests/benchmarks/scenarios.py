"""Measure what the skills give on each of the larger targets, or judge the zoo of the text targets among them.

    python tests/benchmarks/scenarios.py OUT.jsonl [--only TARGET ...] [--zoo] [--depth quick] [--again]

A candidate is the target's starter with the recipes of `SKILLS` applied; the gate judges it and measures it interleaved
with the starter, profile `tiny`.  One line for each is appended to OUT.jsonl, and what is there already is not run
again; at the end the rows of the tables in `docs/scenarios.md` are printed.  A gate that a busy machine voided is
started again, three times at most.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from zoo import Member, members_of  # noqa: E402

from pytest_vibeserve.errors import ExitCode  # noqa: E402
from pytest_vibeserve.report import Check, Comparison, Report, read_report  # noqa: E402
from pytest_vibeserve.target import load_target  # noqa: E402

TRIES = 3
SKILLS = {
    "llama_3_8b": (
        "static-kv-decode", "thread-layout", "continuous-batching", "chunked-prefill", "fused-projections",
        "prefix-cache", "fast-sampling",
    ),
    "qwen3_32b_code_edit": ("static-kv-decode", "compiled-step", "predicted-output", "lean-http"),
    "olmo_hybrid_prefix_cache": ("hybrid-decode", "thread-layout", "hybrid-prefix-cache", "lean-http"),
    "moonshine_streaming": ("incremental-audio-encoder",),
    "llama_mlx_json": ("static-cache-decode", "grammar-jump-forward"),
    "show_o2_h100": ("compiled-image",),
    "show_o2_macbook": ("compiled-image",),
}  # fmt: skip
TEXT = ("llama_3_8b", "qwen3_32b_code_edit", "olmo_hybrid_prefix_cache")


class Found(BaseModel):
    """What one gate said: of a candidate measured beside the starter, or of a member of a zoo."""

    model_config = ConfigDict(frozen=True)

    target: str
    name: str
    date: str
    commit: str
    cpu: str
    depth: str
    outcome: str
    reason: str
    failed: tuple[Check, ...] = ()
    comparison: Comparison | None = None

    def row(self) -> str:
        """The row of its table."""
        if compared := self.comparison:
            unit = compared.unit
            values = f"{compared.baseline_value:.4g} {unit} | {compared.candidate_value:.4g} {unit}"
            gain = f"{compared.gain:.2f}x [{compared.low:.2f}, {compared.high:.2f}], {compared.pairs} pairs"
            what = f"`{compared.metric}` at `{compared.load}`"
            cells = [f"`{self.target}`", what, values, gain, f"{self.outcome}, {self.depth}", self.date, self.commit]
            return f"| {' | '.join(cells)} |"
        check = self.failed[0] if self.failed else None
        figures = [_shown(check.statistic), _shown(check.threshold)] if check else ["", ""]
        cells = [self.target, self.name, self.outcome, check.name if check else "", *figures]
        return f"| {' | '.join(cells)} |"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def main() -> int:
    """Run what is asked for and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=list(SKILLS), choices=list(SKILLS))
    parser.add_argument("--zoo", action="store_true", help="judge the members of the text targets' zoos")
    parser.add_argument("--names", nargs="*", default=(), help="of the zoos, only these members")
    parser.add_argument("--depth", choices=("quick", "full"), default="quick")
    parser.add_argument("--again", action="store_true", help="run also what is in the file")
    options = parser.parse_args()
    known = {(one.target, one.name, one.depth) for one in read(options.out)} if not options.again else set()
    for target in options.only:
        members = [member for member in members_of(target).values() if target in TEXT] if options.zoo else [None]
        for member in members:
            name = member.name if member else "gain"
            if (target, name, options.depth) in known or (options.names and name not in options.names):
                continue
            found = judged(target, member, options.depth)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(found.model_dump_json() + "\n")
            print(found.row(), flush=True)
    return 0


def read(path: Path) -> Iterator[Found]:
    """What the file holds already."""
    if path.is_file():
        yield from map(Found.model_validate_json, path.read_text(encoding="utf-8").splitlines())


def judged(target: str, member: Member | None, depth: str) -> Found:
    """Make the candidate, and judge it until the machine lets a gate come to its end."""
    with tempfile.TemporaryDirectory(prefix="vibeserve-scenario-") as scratch:
        candidate, report = Path(scratch) / "candidate", Path(scratch) / "report.json"
        if member:
            member.make(candidate)
        else:
            written(target, candidate)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--vibeserve-profile", "tiny"]
        command += ["--vibeserve-target", str(ROOT / "targets" / target), "--vibeserve-candidate", str(candidate)]
        command += ["--vibeserve-depth", depth, "--vibeserve-report", str(report)]
        command += ([] if member.honest else ["--exitfirst"]) if member else ["--vibeserve-baseline", "starter"]
        for _ in range(TRIES):
            ended = subprocess.run(command, capture_output=True, text=True, cwd=scratch, check=False)
            if ended.returncode != ExitCode.INFRASTRUCTURE:
                break
            print(ended.stdout[-400:], file=sys.stderr, flush=True)
        return found_in(read_report(report), target, member, depth)


def found_in(report: Report, target: str, member: Member | None, depth: str) -> Found:
    """The part of a report that is kept."""
    failed = tuple(check for check in report.verdict.checks if check.result == "fail")
    if member:
        failed = tuple(sorted(failed, key=lambda check: not member.seen_by(check.name)))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return Found(
        target=target, name=member.name if member else "gain", date=datetime.date.today().isoformat(),
        commit=commit.stdout.strip(), cpu=report.environment.cpu, depth=depth, outcome=report.verdict.outcome,
        reason=report.verdict.reason, failed=failed, comparison=report.comparison,
    )  # fmt: skip


def written(target: str, folder: Path) -> None:
    """The starter with the target's skills applied, in their order."""
    starter = load_target(str(ROOT / "targets" / target), "tiny").starter_folder
    shutil.copytree(starter, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for skill in SKILLS[target]:
        recipe = ROOT / "skills" / skill / "scripts" / "recipe.py"
        subprocess.run([sys.executable, "-I", str(recipe), str(folder)], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
