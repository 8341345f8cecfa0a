"""The bound that this machine sets on what was measured: from what was asked, the model's needs, the machine's rates.

Roofline: Williams, Waterman and Patterson, 2009.  Only what nobody can have computed before is counted: of prompts
that a store of prefixes may know, the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.integrity import Run
from pytest_vibeserve.loads import LATENCY, SPEED
from pytest_vibeserve.machine_rates import LARGEST_BUFFER, Machine, machine, measured_again
from pytest_vibeserve.metrics import MILLISECONDS, percentile
from pytest_vibeserve.needs import Need, Needs, needs
from pytest_vibeserve.report import Ceiling, Check
from pytest_vibeserve.target import Rules, Target

QUANTIZED = 4
"""How many times less may be read and done where a target allows quantization: 4 bits for 16."""

LEEWAY = {"cpu": 1.5, "cuda": 1.25, "metal": 1.25}
"""How far beyond the bound a sample is still believed, by backend.

The rates are the best of several runs of a library's own product and sum: others' kernels may be better by some, and
a CPU's clock and its other users may have changed between a measurement of the one and of the other.
"""

MOMENT_S = 1e-9
"""What took no time at all is held to have taken this."""

COUNTS = {"request_throughput": "req/s", "goodput": "req/s", "output_throughput": "tok/s"}


@dataclass(frozen=True, slots=True)
class Roofline:
    """One model on one machine, at the rates that are allowed; `has_drafts` where a pass may yield several tokens."""

    needs: Needs
    rates: Machine
    has_drafts: bool

    def bound(self, metric: str, run: Run) -> Ceiling | None:
        """What no server can pass on a metric of this very run without drafts; None where physics leaves it open."""
        named, speed = LATENCY.fullmatch(metric), SPEED.fullmatch(metric)
        if metric in COUNTS:
            value, unit = self._rate(metric, run), COUNTS[metric]
        elif speed:
            speeds = sorted(answer.tokens / max(self.alone(need), 1e-12) for answer, need in self._asked(run))
            value, unit = percentile(speeds, float(speed["percentile"])), "tok/s"
        elif named:
            least = sorted(self._latencies(named["latency"], run))
            value, unit = percentile(least, float(named["percentile"])) * MILLISECONDS, "ms"
        else:
            return None
        if not value > 0:
            return None
        told = f"{self.needs.told}; {self.rates.bytes_per_s / 1e9:,.3g} GB/s, {self.rates.operations_per_s / 1e9:,.3g}"
        return Ceiling(metric=metric, load=run.name, value=value, unit=unit, derivation=f"{told} Gop/s, without drafts")

    def alone(self, need: Need) -> float:
        """Seconds of an answer that has the whole machine: the larger of its arithmetic and its reading."""
        return max(self._arithmetic_s(need.operations), need.passes * self.needs.step_bytes(1) / self.rates.bytes_per_s)

    def shares(self, run: Run) -> Iterator[tuple[float, str]]:
        """Shares of what the machine can do that blocks, answers and first tokens took, drafts allowed, in words.

        Reading counts where no draft saves it and the weights are too large for any cache.
        """
        reads = not self.has_drafts and self.needs.weight_bytes >= LARGEST_BUFFER
        for block in run.blocks:
            asked = [self.needs.of(run, answer) for answer in block.answers if not answer.fault]
            least = self._together(asked, run.load.concurrency, reads=reads and run.load.arrival == "closed")
            yield least / max(block.wall_s, MOMENT_S), "a block"
        for answer, need in self._asked(run):
            took_s = answer.done_s - max(answer.sent_s, answer.asked_s)
            whole = self.alone(need) if reads else self._arithmetic_s(need.operations)
            yield whole / max(took_s, MOMENT_S), "an answer"
            if answer.is_streamed and answer.events and need.first:
                yield (
                    self._arithmetic_s(need.first) / max(answer.events[0].at_s - answer.sent_s, MOMENT_S),
                    "a first token",
                )

    def _rate(self, metric: str, run: Run) -> float:
        if run.load.arrival != "closed":
            return 0.0
        asked = list(self._asked(run))
        least = self._together([need for _, need in asked], run.load.concurrency, reads=True)
        done = sum(answer.tokens for answer, _ in asked) if metric == "output_throughput" else len(asked)
        return done / least if least else 0.0

    def _latencies(self, name: str, run: Run) -> Iterator[float]:
        for answer, need in self._asked(run):
            if name == "e2e_latency":
                yield self.alone(need)
            elif name == "ttft" and answer.is_streamed:
                yield self.alone(Need(need.first, 0.0, 1.0))
            elif name == "tpot" and answer.is_streamed and answer.tokens > 1 and need.passes > 1:
                yield self.alone(Need((need.operations - need.first) / answer.tokens, 0.0, 1.0))

    def _together(self, asked: list[Need], streams: int, *, reads: bool) -> float:
        """Seconds of answers that share the machine, at most so many in one pass."""
        arithmetic = self._arithmetic_s(sum(need.operations for need in asked))
        shared = sum(need.passes for need in asked) * self.needs.step_bytes(streams) / streams
        return max(arithmetic, shared / self.rates.bytes_per_s if reads else 0.0)

    def _arithmetic_s(self, operations: float) -> float:
        return operations / self.rates.operations_per_s

    def _asked(self, run: Run) -> Iterator[tuple[Answer, Need]]:
        return ((answer, self.needs.of(run, answer)) for answer in run.answers if not answer.fault)


def roofline(target: Target, model: Path) -> Roofline | None:
    """The roofline of a target's model on this machine, None for a kind of model whose needs are not known."""
    found = needs(model, target.modality)
    if found is None:
        return None
    rates = _allowed(machine(target.hardware.backend, found.weight_bytes), target.rules)
    return Roofline(found, rates, target.rules.speculation)


def believed(run: Run, target: Target, found: Roofline | None) -> Check:
    """No sample lies beyond what the machine can do; one that does is believed of nobody: the gate is inconclusive.

    The machine is measured once more before that is said, and all its devices count.
    """
    name = "physics.ceiling"
    if found is None or not run.answers:
        return Check(name=name, result="skip", detail=f"{run.name}: no bound is known for this model")
    backend = target.hardware.backend
    largest, what = _largest(found, run)
    if largest > LEEWAY[backend]:
        rates = _allowed(measured_again(backend, found.needs.weight_bytes), target.rules)
        largest, what = _largest(replace(found, rates=found.rates.best(rates)), run)
    return Check(
        name=name, result="pass" if largest <= LEEWAY[backend] else "inconclusive", statistic=largest,
        threshold=LEEWAY[backend], unit="x",
        detail=f"{run.name}: {what} did {largest:.3g} times what this machine can do in its time",
    )  # fmt: skip


def _largest(found: Roofline, run: Run) -> tuple[float, str]:
    rates = replace(found.rates, operations_per_s=found.rates.operations_per_s * found.rates.devices)
    rates = replace(rates, bytes_per_s=rates.bytes_per_s * rates.devices)
    return max(replace(found, rates=rates).shares(run))


def _allowed(rates: Machine, rules: Rules) -> Machine:
    faster = QUANTIZED if rules.quantization else 1
    return replace(
        rates, bytes_per_s=faster * rates.bytes_per_s, operations_per_s=faster * rates.operations_per_s
    )  # fmt: skip
