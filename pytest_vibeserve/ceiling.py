"""The bound that this machine sets: a roofline from the model's bytes and operations and the machine's own rates.

Roofline: Williams, Waterman and Patterson, 2009.  What is left out (attention's own bytes and operations, activations,
the network) only makes the true bound tighter; speculation alone can pass a bound on tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.loads import LATENCY, Load
from pytest_vibeserve.machine_rates import Machine, machine
from pytest_vibeserve.report import Ceiling
from pytest_vibeserve.target import Mix, Target

QUANTIZED = 4
"""How many times less may be read and done where a target allows quantization: 4 bits for 16."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one forward step of a model reads (bytes of weights) and does (operations per token).

    `head_operations` are the output layer's part, which a prompt needs for its last token only; `expert_bytes` of the
    weights belong to experts, of which a token takes the share `active`.
    """

    weight_bytes: int
    operations_per_token: int
    head_operations: int = 0
    expert_bytes: int = 0
    active: float = 1.0

    def operations(self, prompt: float, output: float) -> float:
        """Operations of a prompt and of so many output tokens, the first of which is the prompt's last step."""
        tokens = prompt + max(0.0, output - 1)
        return tokens * (self.operations_per_token - self.head_operations) + max(1.0, output) * self.head_operations

    def step_bytes(self, tokens: float) -> float:
        """Bytes of weights that a step of so many tokens reads, if they choose their experts independently."""
        touched = 1.0 - float((1.0 - self.active) ** tokens)
        return self.weight_bytes - self.expert_bytes * (1 - touched)


def cost(model: Path) -> Cost:
    """Bytes and operations by config and safetensors headers; an untied input embedding is looked up only."""
    config = json.loads((model / "config.json").read_text())
    text = {**config, **config.get("text_config", {})}
    tied = bool(text.get("tie_word_embeddings", False))
    count = next((text[name] for name in ("num_local_experts", "num_experts", "n_routed_experts") if text.get(name)), 0)
    active = text.get("num_experts_per_tok", count) / count if count else 1.0
    dense = dense_bytes = experts = expert_bytes = head = 0
    for name, elements, size in _tensors(model):
        if ".experts." in name:
            experts, expert_bytes = experts + elements, expert_bytes + size
        elif "embed_tokens" not in name or tied:
            dense, dense_bytes = dense + elements, dense_bytes + size
        if "lm_head" in name or (tied and "embed_tokens" in name):
            head = elements
    return Cost(dense_bytes + expert_bytes, round(2 * (dense + active * experts)), 2 * head, expert_bytes, active)


def ceiling(target: Target, metric: str, load: Load, model: Path) -> Ceiling | None:
    """The bound on one metric at one load; None for those that physics leaves open.

    A latency's percentile is bounded by the work of the request at the same percentile of the mix.
    """
    if target.modality not in ("text", "chat-json"):
        return None
    if metric in ("output_throughput", "request_throughput", "goodput") and load.arrival == "closed":
        found = throughput_ceiling(target, load, model)
        if metric == "output_throughput":
            return found
        _, output = _mean_lengths(target.mix)
        return found.model_copy(update={"metric": metric, "value": found.value / output, "unit": "req/s"})
    named = LATENCY.fullmatch(metric)
    if named is None or named["latency"] in ("queueing", "itl"):
        return None
    work, rates = _work(target, model)
    if named["latency"] == "tpot":
        seconds, what = step_s(work, rates, 1), "reading the weights once for a token"
    else:
        prompt = _prompt_percentile(target.mix, float(named["percentile"]) / 100)
        seconds, what = prefill_s(work, rates, prompt), f"a prefill of {prompt:.0f} tokens"
    told = f"{what}: {_told(work, rates)}"
    return Ceiling(metric=metric, load=load.name, value=1e3 * seconds, unit="ms", derivation=told)


def throughput_ceiling(target: Target, load: Load, model: Path) -> Ceiling:
    """Output tokens per second that a closed loop cannot pass without speculation.

    A request of p prompt and o output tokens needs p + o - 1 token passes of arithmetic and o steps, each of which
    reads all weights once for at most `concurrency` requests; the larger of the two times bounds it.
    """
    work, rates = _work(target, model)
    prompt, output = _mean_lengths(target.mix)
    arithmetic = work.operations(prompt, output) / rates.operations_per_s
    reading = output * work.step_bytes(load.concurrency) / rates.bytes_per_s / load.concurrency
    return Ceiling(
        metric="output_throughput",
        load=load.name,
        value=output / max(arithmetic, reading),
        unit="tok/s",
        derivation=(
            f"{_told(work, rates)}, {prompt:.0f} prompt and {output:.0f} output tokens a request, no speculation"
        ),
    )


def share_of(value: float, bound: Ceiling, direction: str) -> float:
    """How much of the bound is reached: 1 is the bound itself, for rates and for latencies."""
    return value / bound.value if direction == "max" else bound.value / value if value else math.inf


def step_floor_s(model: Path, streams: int = 1, backend: str = "cpu") -> float:
    """Seconds that one step of so many streams takes at least: its weights read once, or its arithmetic."""
    work = cost(model)
    return step_s(work, machine(backend, work.weight_bytes), streams)


def step_s(work: Cost, rates: Machine, streams: int) -> float:
    """Seconds of a decoding step of so many streams: the larger of its reading and its arithmetic."""
    arithmetic = streams * work.operations_per_token / rates.operations_per_s
    return max(work.step_bytes(streams) / rates.bytes_per_s, arithmetic)


def prefill_s(work: Cost, rates: Machine, tokens: float) -> float:
    """Seconds from a prompt to its first token: the larger of reading the weights once and the arithmetic."""
    return max(work.step_bytes(tokens) / rates.bytes_per_s, work.operations(tokens, 1) / rates.operations_per_s)


def _work(target: Target, model: Path) -> tuple[Cost, Machine]:
    work = cost(model)
    rates = machine(target.hardware.backend, work.weight_bytes)
    if not target.rules.quantization:
        return work, rates
    return work, Machine(QUANTIZED * rates.bytes_per_s, QUANTIZED * rates.operations_per_s)


def _told(work: Cost, rates: Machine) -> str:
    return (
        f"{work.weight_bytes / 1e6:,.3g} MB of weights at {rates.bytes_per_s / 1e9:,.3g} GB/s, "
        f"{work.operations_per_token / 1e6:,.3g} Mop a token at {rates.operations_per_s / 1e9:,.3g} Gop/s"
    )


def _tensors(model: Path) -> Iterator[tuple[str, int, int]]:
    """Name, elements and bytes of every tensor."""
    for path in sorted(model.glob("*.safetensors")):
        with path.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                start, end = tensor["data_offsets"]
                yield name, math.prod(tensor["shape"]), end - start


def _mean_lengths(mixes: Sequence[Mix]) -> tuple[float, float]:
    total = sum(mix.weight for mix in mixes)
    prompt = sum(mix.weight * sum(mix.prompt_tokens) / 2 for mix in mixes) / total
    output = sum(mix.weight * sum(mix.output_tokens) / 2 for mix in mixes) / total
    return prompt, output


def _prompt_percentile(mixes: Sequence[Mix], share: float) -> int:
    """The prompt length that this share of the requests does not pass."""
    total = sum(mix.weight for mix in mixes)
    for length in range(1, max(mix.prompt_tokens[1] for mix in mixes)):
        below = sum(mix.weight * _share_up_to(length, *mix.prompt_tokens) for mix in mixes)
        if below >= share * total:
            return length
    return max(mix.prompt_tokens[1] for mix in mixes)


def _share_up_to(length: int, least: int, most: int) -> float:
    return min(max((length - least + 1) / (most - least + 1), 0.0), 1.0)
