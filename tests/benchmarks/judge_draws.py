"""How often the Judge wrongs honest draws and misses bent ones: the statistics of sampled answers by replay.

    python tests/benchmarks/judge_draws.py [--depth quick|full] [--verdicts 200] [--pool 2000]

A pool of answers is drawn from the model for each way of bending the draws; every verdict takes requests from it, as
many as the Judge asks for at that depth, and is tried once more where the Judge would.  Lines are appended to
.benchmarks/judge-rates/draws-<depth>.jsonl, of which judge_rates.py writes docs/judge.md.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "targets" / "tiny_llama" / "starter"
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
sys.path += [str(ROOT / "tests" / "servers" / "base"), str(STARTER)]

from judge_page import PLACE  # noqa: E402

from pytest_vibeserve.completions import Answer, Choice  # noqa: E402
from pytest_vibeserve.judge import sampled  # noqa: E402
from pytest_vibeserve.judge.audit import Auditor  # noqa: E402
from pytest_vibeserve.judge.draws import Drawn, compare  # noqa: E402
from pytest_vibeserve.reference import Reference, model_folder  # noqa: E402
from pytest_vibeserve.target import load_target  # noqa: E402
from pytest_vibeserve.workload import Request, Vocabulary, Workload, samplings  # noqa: E402

Bend = Callable[[Request], Request]
SOFT = {"sampled.surprisal", "sampled.ranks"}

BENDS: dict[str, Bend] = {
    "honest draws": lambda one: one,
    "temperature ignored": lambda one: replace(one, temperature=1.0),
    "temperature times 0.7": lambda one: replace(one, temperature=0.7 * one.temperature),
    "temperature times 0.9": lambda one: replace(one, temperature=0.9 * one.temperature),
    "low temperatures greedy": lambda one: replace(one, temperature=one.temperature if one.temperature > 0.5 else 0),
    "greedy": lambda one: replace(one, temperature=0.0),
    "top_p ignored": lambda one: replace(one, top_p=1.0),
    "top_p times 0.9": lambda one: replace(one, top_p=0.9 * one.top_p),
    "top_k ignored": lambda one: replace(one, top_k=0),
    "top_k of 40 for all": lambda one: replace(one, top_k=one.top_k or 40),
}


def answered(model: object, request: Request, bend: Bend) -> Answer:
    """What a server in float32 that bends the request so says to it."""
    from sampling import Sampler

    sampler, cache = Sampler(replace(bend(request), seed=None), 0), model.cache()
    logits, said = model.forward(list(request.prompt_ids), cache)[-1], []
    for _ in range(request.max_tokens):
        said.append(sampler.choose(logits))
        logits = model.forward(said[-1:], cache)[-1]
    return Answer(request, 200, "", (Choice(0, tuple(said), "", "length"),))


def asked(count: int, depth: Literal["quick", "full"], workload: Workload) -> list[Request]:
    """Sampled requests as the Judge makes them."""
    longest, ways = sampled.LONGEST_ANSWER[depth], samplings(workload.draws)
    return [
        replace(one, temperature=heat, top_p=top_p, top_k=top_k, max_tokens=min(longest, one.max_tokens), logprobs=None)
        for one, (heat, top_p, top_k) in zip(workload.take(count), ways, strict=False)
    ]


def verdict(pool: Sequence[Drawn], count: int, draws: random.Random) -> str:
    """What the checks say of requests from the pool, the second time where only soft ones failed."""
    for _ in range(2):
        found = sampled.checks(draws.sample(pool, count))
        failed = {check.name for check in found if check.result == "fail"}
        if not failed:
            return "accepted"
        if failed - SOFT:
            break
    return "rejected"


def main() -> None:
    """Append a line for each verdict of each way to draw."""
    from generation import Model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", choices=("quick", "full"), default="full")
    parser.add_argument("--verdicts", type=int, default=200)
    parser.add_argument("--pool", type=int, default=2000)
    options = parser.parse_args()
    target = load_target(str(STARTER.parent), "tiny")
    folder, draws = model_folder(target), random.Random()
    reference, vocabulary, model = Reference(folder, target), Vocabulary(folder), Model(folder)
    auditor = Auditor.of(reference, vocabulary, target, options.depth)
    requests = asked(options.pool, options.depth, Workload(target, vocabulary, draws))
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"draws-{options.depth}.jsonl").open("a", encoding="utf-8") as out:
        for name, bend in BENDS.items():
            pool = compare(auditor, [answered(model, one, bend) for one in requests], draws.getrandbits(32))
            said = [verdict(pool, sampled.REQUESTS[options.depth], draws) for _ in range(options.verdicts)]
            kind = "honest" if name == "honest draws" else "cheat"
            lines = [{"name": name, "kind": kind, "outcome": one, "pool": len(pool)} for one in said]
            out.write("".join(json.dumps(line) + "\n" for line in lines))
            print(name, np.unique(said, return_counts=True), flush=True)


if __name__ == "__main__":
    main()
