"""The Evaluator: warms up, repeats, measures, and audits the very answers that it measured."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pytest_vibeserve.bench import Bench, client_bottleneck
from pytest_vibeserve.ceiling import step_floor_s, throughput_ceiling
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.integrity import traffic_checks
from pytest_vibeserve.judge import ContractBroken, Judge
from pytest_vibeserve.load_generator import Traffic
from pytest_vibeserve.load_generator.arrivals import poisson
from pytest_vibeserve.metrics import Block, measure
from pytest_vibeserve.profiler import Observation, hints
from pytest_vibeserve.report import Check, Comparison, Measurement
from pytest_vibeserve.statistics import Interval, conclusion, rate_interval
from pytest_vibeserve.target import Load, Objective
from pytest_vibeserve.workload import Request

REPEATS = {"quick": 3, "full": 5}
PAIRS = {"quick": 4, "full": 8}
VOID_RETRIES = 2
LARGEST_BLOCK = 2000
WARM_UP_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Rival:
    """The baseline of an interleaved comparison, on a bench of its own."""

    bench: Bench
    name: str
    tree: str


class Evaluator:
    """What a test asks for by the fixture `evaluator`; `measure` takes one load of the target."""

    def __init__(self, bench: Bench, judge: Judge, rival: Rival | None, benchmark: Any) -> None:
        """Bind to one server; `benchmark` is pytest-benchmark's fixture, which times and stores each repeat."""
        self._bench, self._judge, self._rival, self._benchmark = bench, judge, rival, benchmark

    def measure(self, name: str) -> None:
        """Measure one load of the target and record every objective at it; ContractBroken when an answer fails."""
        load = self._bench.target.load_named(name)
        repeats = REPEATS[self._bench.depth]
        compared = self._rival is not None and name == self._bench.target.headline.load
        if compared:
            repeats = PAIRS[self._bench.depth]
        rival = _Runner(self._rival.bench, load, pausing=True, is_rival=True) if compared and self._rival else None
        runner = _Runner(self._bench, load, pausing=rival is not None, is_rival=False)
        blocks, rival_blocks, cpu_s = self._blocks(runner, rival, repeats)
        if rival:
            self._bench.server.resume()
        self._integrity([answer for block in blocks for answer in block.answers], load)
        self._measurements(load, blocks)
        if rival and self._rival:
            found = self._comparison(self._rival, blocks, rival_blocks)
            spared = "" if rival.logprobs else " (spared logprobs, which it refuses)"
            self._bench.record(found.model_copy(update={"baseline": found.baseline + spared}))
        self._observe(load, blocks, cpu_s)

    def _blocks(
        self, runner: _Runner, rival: _Runner | None, repeats: int
    ) -> tuple[list[Block], list[Block], float | None]:
        blocks: list[Block] = []
        rival_blocks: list[Block] = []
        draws = self._bench.draws("order of pairs")
        rival_first = [draws.random() < 0.5 for _ in range(repeats)]
        cpu: list[float | None] = []

        def before() -> None:
            if rival and rival_first[len(blocks)]:
                rival_blocks.append(rival.block())

        def timed() -> None:
            start = self._bench.server.cpu_seconds()
            blocks.append(runner.block())
            end = self._bench.server.cpu_seconds()
            cpu.append(None if start is None or end is None else end - start)

        def after() -> None:
            if rival and not rival_first[len(blocks) - 1]:
                rival_blocks.append(rival.block())

        runner.warm_up()
        if rival:
            rival.warm_up()
        self._repeat(timed, before, after, repeats)
        known = [seconds for seconds in cpu if seconds is not None]
        return blocks, rival_blocks, sum(known) if len(known) == len(cpu) else None

    def _repeat(
        self, timed: Callable[[], None], before: Callable[[], None], after: Callable[[], None], repeats: int
    ) -> None:
        if self._benchmark is None or self._benchmark.disabled:
            for _ in range(repeats):
                before()
                timed()
                after()
            return
        self._benchmark.pedantic(timed, setup=before, teardown=after, rounds=repeats, iterations=1)

    def _integrity(self, answers: Sequence[Answer], load: Load) -> None:
        checks = [*traffic_checks(answers, self._bench.target.limits, load.name), self._memory(load)]
        for check in checks:
            self._bench.record(check)
        broken = next((check for check in checks if check.result == "fail"), None)
        if broken:
            raise ContractBroken(f"{broken.name}: {broken.detail}; {broken.example}")
        self._judge.examine(answers)

    def _memory(self, load: Load) -> Check:
        limit = self._bench.target.limits.memory_gib
        used = (self._bench.server.memory_bytes() or 0) / 2**30
        return Check(
            name="limits.memory", result="fail" if used > limit else "pass", statistic=used, threshold=limit,
            unit="GiB", detail=f"{load.name}: {used:.2f} GiB resident",
        )  # fmt: skip

    def _measurements(self, load: Load, blocks: Sequence[Block]) -> None:
        target = self._bench.target
        for objective in target.objective:
            if objective.load == load.name:
                self._bench.record(self._measurement(objective, load, blocks))
        if load.arrival == "closed":
            self._bench.record(throughput_ceiling(target, load, self._bench.contract.model))

    def _measurement(self, objective: Objective, load: Load, blocks: Sequence[Block]) -> Measurement:
        samples = tuple(measure(objective.metric, block) for block in blocks)
        interval = rate_interval(samples)
        share = None
        if objective.metric == "output_throughput" and load.arrival == "closed":
            share = interval.value / throughput_ceiling(self._bench.target, load, self._bench.contract.model).value
        found = Measurement(
            metric=objective.metric, load=load.name, value=interval.value, low=interval.low, high=interval.high,
            unit=objective.unit, direction=objective.direction, samples=samples, ceiling_share=share,
            headline=objective == self._bench.target.headline,
        )  # fmt: skip
        if self._benchmark is not None:
            self._benchmark.extra_info[f"{objective.metric}@{load.name}"] = interval.value
        if objective.bound is not None:
            self._bench.record(_bound(objective, found))
        return found

    def _comparison(self, rival: Rival, blocks: Sequence[Block], rival_blocks: Sequence[Block]) -> Comparison:
        headline = self._bench.target.headline
        faults = [answer.fault for block in rival_blocks for answer in block.answers if answer.fault]
        if faults:
            raise InfrastructureError(f"the baseline {rival.name} failed {len(faults)} requests: {faults[0]}")
        mine = [measure(headline.metric, block) for block in blocks]
        theirs = [measure(headline.metric, block) for block in rival_blocks]
        ratios = [a / b if headline.direction == "max" else b / a for a, b in zip(mine, theirs, strict=True)]
        gain: Interval = rate_interval(ratios)
        return Comparison(
            baseline=rival.name, baseline_tree=rival.tree, metric=headline.metric, load=headline.load,
            gain=gain.value, low=gain.low, high=gain.high, pairs=len(ratios), conclusion=conclusion(gain),
            baseline_value=rate_interval(theirs).value, candidate_value=rate_interval(mine).value,
            unit=headline.unit, ratios=tuple(ratios),
        )  # fmt: skip

    def _observe(self, load: Load, blocks: Sequence[Block], cpu_s: float | None) -> None:
        if load.arrival != "closed":
            return
        self._bench.observed[load.name] = Observation(load.concurrency, tuple(blocks), cpu_s)
        if load.name == self._bench.target.headline.load:
            floor = partial(step_floor_s, self._bench.contract.model)
            for hint in hints(self._bench.observed, floor, os.cpu_count() or 1):
                self._bench.record(hint)


def _bound(objective: Objective, found: Measurement) -> Check:
    assert objective.bound is not None
    broken = found.value > objective.bound if objective.direction == "min" else found.value < objective.bound
    return Check(
        name=f"bound.{objective.metric}@{objective.load}", result="fail" if broken else "pass", statistic=found.value,
        threshold=objective.bound, unit=objective.unit, detail=f"{found.value:.1f} {objective.unit}",
    )  # fmt: skip


class _Runner:
    """Blocks of one load on one bench, each of fresh requests and about as long as the target's depth asks for."""

    def __init__(self, bench: Bench, load: Load, *, pausing: bool, is_rival: bool) -> None:
        self._bench, self._load, self._pausing, self._is_rival = bench, load, pausing, is_rival
        seconds = load.quick_s if bench.depth == "quick" else load.full_s
        self._block_s = seconds / REPEATS[bench.depth]
        self._count = max(load.concurrency, 2)
        self.logprobs = True

    def warm_up(self) -> None:
        """One discarded block at this load, from which the number of requests that fill a block is estimated.

        A rival that refuses logprobs, as generic engines may, is spared them from here on, to its advantage.
        """
        streams = self._load.concurrency if self._load.arrival == "closed" else 1
        requests = self._bench.fresh(f"warm-up {self._load.name}", max(streams, 2))
        short = [replace(request, max_tokens=min(request.max_tokens, WARM_UP_TOKENS)) for request in requests]
        if self._is_rival and self._refuses_logprobs(short[0]):
            self.logprobs = False
            short = [replace(request, logprobs=None) for request in short]
        traffic = self._bench.send_closed(short, streams)
        if self._load.arrival == "poisson":
            self._count = max(2, math.ceil(self._load.rate * self._block_s))
        else:
            part = sum(request.max_tokens for request in short) / sum(request.max_tokens for request in requests)
            fitting = math.ceil(len(requests) * part / max(traffic.wall_s, 1e-3) * self._block_s)
            self._count = min(max(fitting, streams, 2), LARGEST_BLOCK)
        self._rest()

    def block(self) -> Block:
        """One measured block; beside a rival the server sleeps before and after, so that each has the machine alone."""
        if self._pausing:
            self._bench.server.resume()
        why = ""
        for _ in range(1 + VOID_RETRIES):
            requests = self._bench.fresh(f"load {self._load.name}", self._count)
            if not self.logprobs:
                requests = [replace(request, logprobs=None) for request in requests]
            traffic = self._send(requests)
            why = client_bottleneck(traffic) or ""
            if not why:
                self._rest()
                answers = self._bench.answers(requests, traffic)
                return Block(tuple(answers), traffic.wall_s, self._load.arrival == "poisson")
        raise InfrastructureError(f"the load client was the bottleneck {1 + VOID_RETRIES} times: {why}")

    def _send(self, requests: list[Request]) -> Traffic:
        if self._load.arrival == "poisson":
            draws = self._bench.draws(f"arrivals {self._load.name}")
            return self._bench.send_on_schedule(requests, poisson(self._load.rate, len(requests), draws))
        return self._bench.send_closed(requests, self._load.concurrency)

    def _refuses_logprobs(self, request: Request) -> bool:
        with_them, without = (replace(request, id=index, logprobs=asked) for index, asked in enumerate((5, None)))
        refused, served = self._bench.ask([with_them, without])
        return refused.status // 100 == 4 and not served.fault

    def _rest(self) -> None:
        if self._pausing:
            self._bench.server.pause()
