"""The Evaluator: warms up, measures, compares, and audits the very answers that it measured."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from pytest_vibeserve.bench import Bench
from pytest_vibeserve.blocks import REPEATS, Repeats, Runner
from pytest_vibeserve.ceiling import cost, share_of, step_floor_s
from pytest_vibeserve.comparison import PAIRS_A_QUAD, Contest, Names, Rule
from pytest_vibeserve.distributions import distributions
from pytest_vibeserve.errors import ContractBroken, Inconclusive
from pytest_vibeserve.integrity import Run, dense_work, pace, settled_cpu_s, traffic_checks
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block, measure
from pytest_vibeserve.modalities import Judging
from pytest_vibeserve.profiler import Observation, hints
from pytest_vibeserve.profiling import insight
from pytest_vibeserve.report import Check, Measurement, Result
from pytest_vibeserve.roofline import Roofline, believed, roofline
from pytest_vibeserve.statistics import ALPHA, rate_interval
from pytest_vibeserve.stopping import EFFORTS, Effort, effort_beside
from pytest_vibeserve.target import Objective


@dataclass(frozen=True, slots=True)
class Rival:
    """The baseline of an interleaved comparison, on a bench of its own; `alpha` is the chance of a wrong "better"."""

    bench: Bench
    name: str
    tree: str
    alpha: float = ALPHA


class Evaluator:
    """What a test asks for by the fixture `evaluator`; `measure` takes one load of the target."""

    def __init__(
        self, bench: Bench, judge: Judging, rival: Rival | None, benchmark: Any, *, looks_inside: bool = False
    ) -> None:
        """Bind to one server; `benchmark` is pytest-benchmark's fixture, which times and stores each repeat.

        With `looks_inside` a profiled pass follows the headline's load.
        """
        self._bench, self._judge, self._rival, self._benchmark = bench, judge, rival, benchmark
        self._looks_inside = looks_inside

    def measure(self, name: str) -> None:
        """Measure one load of the target and record every objective at it; ContractBroken when an answer fails."""
        load = self._bench.target.load_named(name)
        is_better = self._measured(load)
        # A quick gate is asked for its insight by a search, which goes on from what is better only.
        if (
            self._looks_inside
            and name == self._bench.target.headline.load
            and (is_better or self._bench.depth == "full")
        ):
            self._bench.server.pause()
            self._bench.record(insight(self._bench, load))
            self._bench.server.resume()

    def _measured(self, load: Load) -> bool:
        """Measure one load; whether nothing speaks against the candidate as the next one to go on from."""
        if self._rival:
            self._rival.bench.server.pause()
        effort = self._effort(load) if self._rival else None
        if self._rival and effort:
            return self._compared(load, self._rival, effort)
        runner = Runner(self._bench, load)
        runner.warm_up()
        repeats = Repeats(runner, REPEATS[self._bench.depth])
        cpu_s = self._repeat(repeats, REPEATS[self._bench.depth])
        self._judged(load, repeats.blocks, cpu_s)
        return True

    def _effort(self, load: Load) -> Effort | None:
        """How much to compare at a load: fully at the headline's, briefly at others in a full gate, else not at all."""
        target, depth = self._bench.target, self._bench.depth
        left_s = self._bench.contract.deadline - time.monotonic()
        if load.name == target.headline.load:
            # What is left of the gate's time is for the other loads and the audit of all answers too.
            return replace(EFFORTS[depth], seconds=min(EFFORTS[depth].seconds, left_s / 2))
        if depth != "full" or all(objective.load != load.name for objective in target.objective):
            return None
        spoken_s = target.speech.seconds[1] if load.arrival == "streams" else 0.0
        return effort_beside(max(load.full_s / REPEATS[depth], spoken_s), target.limits.wall_s, left_s)

    def _compared(self, load: Load, rival: Rival, effort: Effort) -> bool:
        """Measured in turns with the rival, each asleep while the other serves."""
        ours = Runner(self._bench, load, pausing=True)
        theirs = Runner(rival.bench, load, pausing=True, rival=rival.name)
        ours.warm_up()
        theirs.warm_up()
        objectives = tuple(o for o in self._bench.target.objective if o.load == load.name)
        rule = Rule(objectives, rival.alpha, effort)
        contest = Contest(ours, theirs, rule, self._bench.draws("order of blocks"))
        cpu_s = self._repeat(contest, PAIRS_A_QUAD * effort.least)
        self._bench.server.resume()
        self._judged(load, contest.blocks, cpu_s)
        spared = "" if theirs.logprobs else " (spared logprobs, which it refuses)"
        found = contest.comparison(Names(rival.name + spared, rival.tree))
        self._bench.record(found)
        return found.conclusion == "better"

    @cached_property
    def _roofline(self) -> Roofline | None:
        return roofline(self._bench.target, self._bench.contract.model)

    def _judged(self, load: Load, blocks: Sequence[Block], cpu_s: float | None) -> None:
        run = self._run(load, blocks, cpu_s)
        self._integrity(run)
        self._measurements(run)
        self._observe(load, blocks, cpu_s)

    def _repeat(self, turns: Repeats | Contest, rounds: int) -> float | None:
        """Take turns until they are over; the CPU seconds of the candidate's blocks, None when they cannot be seen.

        pytest-benchmark wants to know beforehand how many rounds it times: it sees the least number, not what follows.
        """
        server, used = self._bench.server, [0.0]
        known = [True]

        def timed() -> None:
            start = server.cpu_seconds()
            turns.timed()
            end = server.cpu_seconds()
            known[0] = known[0] and start is not None and end is not None
            used[0] += 0.0 if start is None or end is None else end - start

        if self._benchmark is not None and not self._benchmark.disabled:
            self._benchmark.pedantic(timed, setup=turns.before, teardown=turns.after, rounds=rounds, iterations=1)
        while not turns.is_over:
            turns.before()
            timed()
            turns.after()
        return used[0] if known[0] else None

    def _run(self, load: Load, blocks: Sequence[Block], cpu_s: float | None) -> Run:
        """The load as it was measured; what the server does after the last answer is waited for."""
        target, model = self._bench.target, self._bench.contract.model
        waited = self._bench.depth == "full" or load.name == target.headline.load
        after = settled_cpu_s(self._bench.server.cpu_seconds, self._bench.idle_rate) if waited else None
        is_known = target.hardware.backend == "cpu" and target.modality in ("text", "chat-json") and cpu_s is not None
        work = dense_work(model, cost(model).operations_per_token) if is_known else None
        return self._priced(Run(load, tuple(blocks), cpu_s, after, work))

    def _priced(self, run: Run) -> Run:
        """The run with what a token costs alone, where its streams came suspiciously fast.

        Where they still seem to, more of the load is asked for and the cost again, until the two agree.
        """
        runner, least = Runner(self._bench, run.load), max(pace.BESIDE, 2 * run.load.concurrency)
        for number in range(pace.ROUNDS):
            if not pace.is_doubted(run):
                break
            beside = runner.block(runner.draft(least)).answers if number else ()
            requests = self._bench.fresh("pace", pace.PAIRS[self._bench.depth])
            alone = pace.paired(self._bench.ask, requests, self._bench.draws("pace/order"))
            run = replace(run, alone=alone, beside=beside)
        return run

    def _integrity(self, run: Run) -> None:
        target = self._bench.target
        checks = [*traffic_checks(run, target), believed(run, target, self._roofline), self._memory(run.load)]
        for check in checks:
            self._bench.record(check)
        broken = next((check for check in checks if check.result == "fail"), None)
        if broken:
            raise ContractBroken(f"{broken.name}: {broken.detail}; {broken.example}")
        doubted = next((check for check in checks if check.result == "inconclusive"), None)
        if doubted:
            raise Inconclusive(f"{doubted.name}: {doubted.detail}")
        self._judge.examine(run.answers)

    def _memory(self, load: Load) -> Check:
        limit = self._bench.target.limits.memory_gib
        used = (self._bench.server.memory_bytes() or 0) / 2**30
        return Check(
            name="limits.memory", result="fail" if used > limit else "pass", statistic=used, threshold=limit,
            unit="GiB", detail=f"{load.name}: {used:.2f} GiB resident",
        )  # fmt: skip

    def _measurements(self, run: Run) -> None:
        for distribution in distributions(run.name, run.blocks):
            self._bench.record(distribution)
        for objective in self._bench.target.objective:
            if objective.load == run.name:
                self._bench.record(self._measurement(objective, run))

    def _measurement(self, objective: Objective, run: Run) -> Measurement:
        samples = tuple(measure(objective.metric, block) for block in run.blocks)
        interval = rate_interval(samples)
        bound = self._roofline.bound(objective.metric, run) if self._roofline else None
        if bound:
            self._bench.record(bound)
        share = share_of(interval.value, bound, objective.direction) if bound else None
        found = Measurement(
            metric=objective.metric, load=run.name, value=interval.value, low=interval.low, high=interval.high,
            unit=objective.unit, direction=objective.direction, samples=samples, ceiling_share=share,
            headline=objective == self._bench.target.headline,
        )  # fmt: skip
        if self._benchmark is not None:
            self._benchmark.extra_info[f"{objective.metric}@{run.name}"] = interval.value
        if objective.bound is not None:
            self._bench.record(bound_check(objective, found))
        return found

    def _observe(self, load: Load, blocks: Sequence[Block], cpu_s: float | None) -> None:
        if load.arrival != "closed":
            return
        self._bench.observed[load.name] = Observation(load.concurrency, tuple(blocks), cpu_s)
        if load.name == self._bench.target.headline.load:
            floor = partial(step_floor_s, self._bench.contract.model)
            for hint in hints(self._bench.observed, floor, os.cpu_count() or 1):
                self._bench.record(hint)


def bound_check(objective: Objective, found: Measurement) -> Check:
    """Broken when the whole interval lies beyond the bound, kept when none of it does; in between more is needed."""
    assert objective.bound is not None
    least, most = (found.low, found.high) if objective.direction == "min" else (-found.high, -found.low)
    bound = objective.bound if objective.direction == "min" else -objective.bound
    result: Result = "fail" if least > bound else "pass" if most <= bound else "inconclusive"
    return Check(
        name=f"bound.{objective.metric}@{objective.load}", result=result, statistic=found.value,
        threshold=objective.bound, unit=objective.unit,
        detail=f"{found.value:.1f} {objective.unit} [{found.low:.1f}, {found.high:.1f}]",
    )  # fmt: skip
