"""The bound that this machine sets: a roofline from the model's bytes and operations and the machine's own rates."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_vibeserve.report import Ceiling
from pytest_vibeserve.target import Load, Mix, Target

_MATRIX = 1024
_BUFFER_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine reaches: bytes read per second, and operations per second in 16-bit matrix products."""

    bytes_per_s: float
    operations_per_s: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What one forward step of a model reads (bytes of weights) and does (operations per token)."""

    weight_bytes: int
    operations_per_token: int


@cache
def machine() -> Machine:
    """Rates of this machine with all its cores, best of several short runs."""
    import torch

    buffer = torch.ones(_BUFFER_BYTES // 4, dtype=torch.float32)
    square = torch.ones(_MATRIX, _MATRIX, dtype=torch.bfloat16)
    read = _best(lambda: buffer.sum(), 5)
    product = _best(lambda: square @ square, 20)
    return Machine(_BUFFER_BYTES / read, 2 * _MATRIX**3 / product)


def cost(model: Path) -> Cost:
    """Bytes and operations by the safetensors headers; an untied input embedding is looked up, not multiplied."""
    weight_bytes = parameters = embedding = embedding_bytes = 0
    tied = bool(json.loads((model / "config.json").read_text()).get("tie_word_embeddings", False))
    for path in sorted(model.glob("*.safetensors")):
        with path.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            count = 1
            for extent in tensor["shape"]:
                count *= extent
            size = tensor["data_offsets"][1] - tensor["data_offsets"][0]
            parameters, weight_bytes = parameters + count, weight_bytes + size
            if "embed_tokens" in name and not tied:
                embedding, embedding_bytes = embedding + count, embedding_bytes + size
    return Cost(weight_bytes - embedding_bytes, 2 * (parameters - embedding))


def throughput_ceiling(target: Target, load: Load, model: Path) -> Ceiling:
    """Output tokens per second that a closed loop cannot pass without speculation.

    A request of p prompt and o output tokens needs (p + o) token passes of arithmetic and o steps, each of which reads
    all weights once for at most `concurrency` requests; the larger of the two times bounds it (the roofline of
    Williams, Waterman and Patterson, 2009). Attention's own bytes and operations are left out: the true bound is lower.
    """
    rates, work = machine(), cost(model)
    prompt, output = _mean_lengths(target.mix)
    arithmetic = (prompt + output) * work.operations_per_token / rates.operations_per_s
    reading = output * work.weight_bytes / rates.bytes_per_s / load.concurrency
    return Ceiling(
        metric="output_throughput",
        load=load.name,
        value=output / max(arithmetic, reading),
        unit="tok/s",
        derivation=(
            f"{work.weight_bytes / 1e6:.0f} MB of weights at {rates.bytes_per_s / 1e9:.0f} GB/s, "
            f"{work.operations_per_token / 1e6:.0f} Mop a token at {rates.operations_per_s / 1e9:.0f} Gop/s, "
            f"{prompt:.0f} prompt and {output:.0f} output tokens a request, no speculation"
        ),
    )


def step_floor_s(model: Path, streams: int = 1) -> float:
    """Seconds that one step of so many streams takes at least: its weights read once, or its arithmetic."""
    work, rates = cost(model), machine()
    arithmetic = streams * work.operations_per_token / rates.operations_per_s
    return max(work.weight_bytes / rates.bytes_per_s, arithmetic)


def _mean_lengths(mixes: tuple[Mix, ...]) -> tuple[float, float]:
    total = sum(mix.weight for mix in mixes)
    prompt = sum(mix.weight * sum(mix.prompt_tokens) / 2 for mix in mixes) / total
    output = sum(mix.weight * sum(mix.output_tokens) / 2 for mix in mixes) / total
    return prompt, output


def _best(work: Callable[[], object], repeats: int) -> float:
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
