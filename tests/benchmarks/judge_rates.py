"""How often the Judge wrongs an honest server and misses a cheat: the zoo, and the statistics alone by replay.

    python tests/benchmarks/judge_rates.py zoo [--runs.. any option of zoo_runs.py]     3 runs a cheat, 20 an honest one
    python tests/benchmarks/judge_rates.py first [--runs 3]                         how soon a gross cheat is refused
    python tests/benchmarks/judge_rates.py replay [--depth quick|full] [--verdicts 200] [--names a b]
    python tests/benchmarks/judge_rates.py write                                       docs/judge.md from what is there

Lines are appended to .benchmarks/judge-rates/*.jsonl; what is there is not run again.  The replay
computes every variant once on a pool of requests, and then draws requests for each verdict: the sizes, the doubling
and the limits are the Judge's own, the signatures are left out.  Verdicts of one pool share requests, so that the
intervals are a little too narrow.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "targets" / "tiny_llama" / "starter"
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
sys.path += [str(ROOT / "tests" / "servers" / "base"), str(STARTER)]

from judge_page import DEEP, PLACE, ZOO, lines_of, written  # noqa: E402

from pytest_vibeserve.judge import DOUBLINGS, FULL_PART  # noqa: E402
from pytest_vibeserve.judge.audit import Auditor  # noqa: E402
from pytest_vibeserve.judge.evidence import Evidence, _evidence, logprobs_at  # noqa: E402
from pytest_vibeserve.reference import Context, Reference, model_folder  # noqa: E402
from pytest_vibeserve.report import Check  # noqa: E402
from pytest_vibeserve.target import load_target  # noqa: E402
from pytest_vibeserve.variants import REFERENCE, Variant, honest, quantised, structural, worst_honest  # noqa: E402
from pytest_vibeserve.workload import Request, Secret, Vocabulary, Workload  # noqa: E402

Depth = Literal["quick", "full"]
TABLE = ROOT / "docs" / "judge.md"
RUNS = {"cheats": 3, "honest": 20}
GROSS = ("prompt_echoed", "constant_text", "layer_skipped")
"""Cheats that are visible on the first answers."""

POOL = 4
"""How many times the largest sample of a verdict the pool holds."""


class Replayed(Auditor):
    """The Judge's numbers without the signatures, which cost a computation for each verdict."""

    __slots__ = ()

    def numbers(self, evidence: Sequence[Evidence]) -> list[Check]:
        """The checks of requests, margins, logprobs and groups."""
        own = [self.single(evidence, "audit"), self._margins(evidence, "audit")]
        return [*own, *self._logprobs(evidence, "audit"), *self._groups(evidence, "audit")]


def candidates(dtype: str, layers: int) -> dict[str, list[Variant]]:
    """The computations that take a candidate's place, by what must be said of them."""
    exact = [
        Variant("float32", "float32"),
        Variant("float16", "float16"),
        Variant(f"{dtype} in four parts", dtype, splits=4),
    ]
    return {
        "honest": [*honest(dtype), worst_honest(dtype), *exact],
        "cheat": [*quantised(dtype), *structural(layers)],
    }


def auditor_of(depth: Depth) -> tuple[Replayed, Vocabulary]:
    """The Judge's numbers on the tiny model, and its vocabulary."""
    target = load_target(str(STARTER.parent), "tiny")
    folder = model_folder(target)
    reference, vocabulary = Reference(folder, target), Vocabulary(folder)
    known = Auditor.of(reference, vocabulary, target, depth)
    return Replayed(known.reference, known.calibration, known.forbidden, depth), vocabulary


def pool(auditor: Replayed, vocabulary: Vocabulary, count: int) -> tuple[dict[str, list[Evidence]], dict[str, str]]:
    """The evidence of every candidate on the same requests, and what each candidate is; kept for the next time."""
    kept = PLACE / f"pool-{count}.pickle"
    if kept.is_file():
        return pickle.loads(kept.read_bytes())  # type: ignore[no-any-return]
    found = _computed(auditor, vocabulary, count)
    kept.write_bytes(pickle.dumps(found))
    return found


def _computed(
    auditor: Replayed, vocabulary: Vocabulary, count: int
) -> tuple[dict[str, list[Evidence]], dict[str, str]]:
    from generation import Model

    reference, target = auditor.reference, load_target(str(STARTER.parent), "tiny")
    folder = reference.folder
    draws, model = Secret().stream("replay"), Model(folder)
    drawn = islice(Workload(target, vocabulary, draws).requests(), count)
    requests = [replace(one, logprobs=5 if draws.random() < 0.5 else None) for one in drawn]
    contexts = [Context(one.prompt_ids, _greedy(model, one)) for one in requests]
    kinds = candidates(reference.dtype, model.depth)
    others = [*kinds["honest"], *kinds["cheat"]]
    found: dict[str, list[Evidence]] = {one.name: [] for one in others}
    floor = honest(reference.dtype)
    for index, blocks in reference.walk(contexts, (REFERENCE, *floor, *others)):
        choice = _Choice(contexts[index].output)
        base = _evidence(requests[index], choice, contexts[index], blocks[: 1 + len(floor)])
        for variant, block in zip(others, blocks[1 + len(floor) :], strict=True):
            found[variant.name].append(_as_said(base, blocks[0], block))
    return found, {one.name: kind for kind, several in kinds.items() for one in several}


class _Choice:
    """As much of a choice as evidence needs."""

    logprobs = ()
    retokenised = False

    def __init__(self, ids: tuple[int, ...]) -> None:
        self.ids = ids


def _greedy(model: object, request: Request) -> tuple[int, ...]:
    cache = model.cache()
    logits, said = model.forward(list(request.prompt_ids), cache)[-1], []
    for _ in range(request.max_tokens):
        said.append(int(logits.argmax()))
        logits = model.forward(said[-1:], cache)[-1]
    return tuple(said)


def _as_said(base: Evidence, true: np.ndarray, block: np.ndarray) -> Evidence:
    """The evidence as if a server that computes so had been asked in the same contexts."""
    rows = np.arange(len(true))
    margins = (true.max(axis=1) - true[rows, block.argmax(axis=1)]).astype(np.float64)
    errors = logprobs_at(block, base.top) - base.truth
    return replace(base, margins=margins, errors=errors if base.request.logprobs else np.full_like(errors, np.nan))


def verdict(auditor: Replayed, evidence: Sequence[Evidence], first: int, random: np.random.Generator) -> str:
    """What the sequential rule says of one candidate whose requests are drawn from the pool."""
    order = random.permutation(len(evidence))
    for stage in range(DOUBLINGS + 1):
        drawn = [evidence[index] for index in order[: first * 2**stage]]
        results = {check.result for check in auditor.numbers(drawn)}
        if "fail" in results:
            return "rejected"
        if "inconclusive" not in results:
            return "accepted"
    return "inconclusive"


def replay(options: argparse.Namespace) -> None:
    """Append a line for each verdict."""
    target = load_target(str(STARTER.parent), "tiny")
    first = target.audit.quick if options.depth == "quick" else FULL_PART
    auditor, vocabulary = auditor_of(options.depth)
    found, kinds = pool(auditor, vocabulary, options.pool * first * 2**DOUBLINGS)
    random = np.random.default_rng()
    path = PLACE / f"replay-{options.depth}.jsonl"
    counts = Counter(line["name"] for line in lines_of(path))
    until = time.monotonic() + options.stop_after
    with path.open("a", encoding="utf-8") as out:
        for turn in range(options.verdicts):
            for name in options.names or found:
                if turn >= counts[name] and time.monotonic() < until:
                    said = verdict(auditor, found[name], first, random)
                    out.write(
                        json.dumps({"name": name, "kind": kinds[name], "outcome": said, "pool": len(found[name])})
                        + "\n"
                    )
            out.flush()


def timed(options: argparse.Namespace, others: Sequence[str]) -> None:
    """Judge gross cheats on the target's own model, one at a time."""
    script = str(Path(__file__).with_name("zoo_runs.py"))
    for depth in ("quick", "full"):
        command = [sys.executable, script, str(PLACE / f"first-{depth}.jsonl"), "--depth", depth, "--profile", "full"]
        command += ["--names", *(options.names or GROSS), "--at-once", "1", "--stop-after", str(options.stop_after)]
        subprocess.run([*command, *others], check=True)


def main() -> None:
    """Run a part, or write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("zoo", "first", "replay", "write"))
    parser.add_argument("--depth", choices=("quick", "full"), default="full")
    parser.add_argument("--verdicts", type=int, default=200)
    parser.add_argument("--pool", type=int, default=POOL, help="times the largest sample of a verdict")
    parser.add_argument("--names", nargs="*", default=())
    parser.add_argument("--stop-after", type=float, default=1e9, help="seconds after which no further verdict begins")
    options, others = parser.parse_known_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    if options.part == "write":
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(written(), encoding="utf-8")
    elif options.part == "replay":
        replay(options)
    elif options.part == "first":
        timed(options, others)
    else:
        script = str(Path(__file__).with_name("zoo_runs.py"))
        others += ["--stop-after", str(options.stop_after), *(["--names", *options.names] if options.names else [])]
        for kind, runs in RUNS.items():
            command = [sys.executable, script, str(ZOO), "--kind", kind, "--runs", str(runs)]
            subprocess.run([*command, *others], check=True)
        subprocess.run([sys.executable, script, str(DEEP), "--kind", "honest", *others, "--depth", "full"], check=True)


if __name__ == "__main__":
    main()
