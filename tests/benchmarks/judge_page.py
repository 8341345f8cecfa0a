"""docs/judge.md, from what `judge_rates.py` has left behind: how often the Judge is wrong, and how soon it refuses."""

from __future__ import annotations

import datetime
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

from zoo import members  # noqa: E402
from zoo_runs import MEASURED, Failed, Judged, read  # noqa: E402

PLACE = ROOT / ".benchmarks" / "judge-rates"
ZOO = PLACE.parent / "zoo.jsonl"
DEEP = PLACE.parent / "zoo-full.jsonl"
"""Honest servers at full depth: `zoo_runs.py .benchmarks/zoo-full.jsonl --kind honest --depth full`."""


def everybody() -> list[Judged]:
    """Every verdict about a member of the zoo."""
    return [*read(ZOO).values(), *read(DEEP).values()]


def _tallied(kind: str, ones: list[Judged]) -> Iterator[str]:
    """The fewest and the most verdicts of one server, and how many of all were wrong."""
    each = sorted(Counter(one.name for one in ones).values())
    yield f"{each[0]}" if each[0] == each[-1] else f"{each[0]} to {each[-1]}"
    wanted = "accepted" if kind == "honest" else "rejected"
    yield _rate(sum(one.outcome != wanted for one in ones), len(ones))


def timed_rows() -> Iterator[str]:
    found = [one for depth in ("quick", "full") for one in read(PLACE / f"first-{depth}.jsonl").values()]
    if not found:
        return
    yield "## Seconds from readiness to refusal\n"
    yield "`judge_rates.py first`: cheats visible on the first answers, on the target's own model of 27.8 M parameters,"
    yield "one at a time on two cores; the zoo's engine is plain numpy.\n"
    yield "| server | depth | refused by | runs | median s | longest s | load average |\n|---|---|---|---|---|---|---|"
    groups: dict[tuple[str, str], list[Judged]] = {}
    for one in found:
        groups.setdefault((one.name, one.depth), []).append(one)
    for (name, depth), runs in groups.items():
        seconds = [one.since_ready_s or math.inf for one in runs]
        names = ", ".join(sorted({one.seen[0].name if one.seen else one.outcome for one in runs}))
        load = _span([one.load for one in runs]) or "not noted"
        yield f"| {name} | {depth} | {names} | {len(runs)} | {median(seconds):.1f} | {max(seconds):.1f} | {load} |"
    yield ""


def margins() -> Iterator[str]:
    """How near honest servers come to the limits of what is measured, and how far beyond them cheats lie."""
    honest: dict[str, list[Failed]] = {}
    cheats: dict[str, list[Failed]] = {}
    for one in everybody():
        member = members()[one.name]
        for check in (*one.kept, *one.failed) if member.honest else one.seen:
            if check.statistic is not None and check.name.startswith(MEASURED):
                (honest if member.honest else cheats).setdefault(check.name, []).append(check)
    if not honest:
        return
    yield "## How near honest servers come to what is measured\n"
    yield "Every load of every honest server above, and the cheats that the check refused; a limit may follow from the"
    yield "run itself.\n"
    yield "| check | limit | honest loads | their statistics | cheats | their statistics | unit |"
    yield "|---|---|---|---|---|---|---|"
    for name, found in sorted(honest.items()):
        beyond = cheats.get(name, [])
        cells = (_span([one.limit for one in found]), str(len(found)), _span([one.statistic for one in found]))
        cells += (str(len(beyond)), _span([one.statistic for one in beyond]), found[0].unit)
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def _span(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    least, most = f"{min(known):.3g}", f"{max(known):.3g}"
    return least if least == most else f"{least} to {most}"


REPLAYED = (
    "The statistics alone",
    "`judge_rates.py replay --depth {depth}`: logits replayed; margins, logprobs, groups and single requests,",
)
DRAWN = (
    "The statistics of sampled answers alone",
    "`judge_draws.py --depth {depth}`: surprisal, ranks and tokens outside the set, of answers",
)


def written() -> str:
    """The document."""
    said = [
        "# How often the Judge is wrong\n",
        f"Written by `python tests/benchmarks/judge_rates.py write` on {datetime.date.today()}. tiny_llama, "
        "profile\n`tiny`; intervals are Wilson's at 95 %.\n",
        "## The zoo\n",
        "`judge_rates.py zoo`: real servers in the sandbox, every verdict with a secret of its own. A cheat that was "
        "refused\nfor something else than what it does counts as right here; `docs/zoo.md` says which check saw it.\n"
        "Parts: the accuracy tests alone, or these and the loads with the audit of every answer (all).\n",
        "| servers | depth | parts | verdicts of each | wrong verdicts | rate |\n|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, str], list[Judged]] = {}
    for one in everybody():
        kind = "honest" if members()[one.name].honest else "cheats"
        groups.setdefault((kind, one.depth, one.parts), []).append(one)
    said += ["| " + " | ".join((*group, *_tallied(group[0], ones))) + " |" for group, ones in sorted(groups.items())]
    wrong = Counter(one.name for one in everybody() if not one.right)
    said.append(
        "\nNot as wanted: " + (", ".join(f"{name} ({count})" for name, count in wrong.items()) or "none") + ".\n"
    )
    said += timed_rows()
    said += margins()
    for depth in ("quick", "full"):
        said += _replayed("replay", depth, REPLAYED)
    for depth in ("quick", "full"):
        said += _replayed("draws", depth, DRAWN)
    return "\n".join(said) + "\n"


def _replayed(part: str, depth: str, words: tuple[str, str]) -> Iterator[str]:
    lines = list(lines_of(PLACE / f"{part}-{depth}.jsonl"))
    if not lines:
        return
    yield f"## {words[0]}, {depth} depth\n"
    pools = ", ".join(str(size) for size in sorted({line["pool"] for line in lines}))
    yield words[1].format(depth=depth)
    yield f"drawn from a pool of {pools} requests.\n"
    yield "| computation | must be | wrong verdicts | rate | inconclusive |\n|---|---|---|---|---|"
    kinds = {f"all {kind}": [one for one in lines if one["kind"] == kind] for kind in ("honest", "cheat")}
    names = dict.fromkeys(line["name"] for line in lines)
    for name, own in {**{name: [o for o in lines if o["name"] == name] for name in names}, **kinds}.items():
        wrong = "rejected" if own[0]["kind"] == "honest" else "accepted"
        counts = Counter(line["outcome"] for line in own)
        must = "accepted" if own[0]["kind"] == "honest" else "rejected"
        yield f"| {name} | {must} | {_rate(counts[wrong], len(own))} | {counts['inconclusive']} |"
    yield ""


def wilson(count: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate."""
    centre, spread = count + z * z / 2, z * math.sqrt(count * (trials - count) / trials + z * z / 4)
    return max(0.0, (centre - spread) / (trials + z * z)), min(1.0, (centre + spread) / (trials + z * z))


def _rate(wrong: int, trials: int) -> str:
    low, high = wilson(wrong, trials)
    return f"{wrong} of {trials} | {wrong / trials:.2%} [{low:.2%}, {high:.2%}]"


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        yield json.loads(line)
