"""What a step of a language model costs, by its files, and how long this machine takes for it at least.

What is left out (attention's own bytes and operations, activations, the network) only makes the true time longer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.machine_rates import Machine, machine
from pytest_vibeserve.report import Ceiling


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
    for name, elements, size in tensors(model):
        if ".experts." in name:
            experts, expert_bytes = experts + elements, expert_bytes + size
        elif "embed_tokens" not in name or tied:
            dense, dense_bytes = dense + elements, dense_bytes + size
        if "lm_head" in name or (tied and "embed_tokens" in name):
            head = elements
    return Cost(dense_bytes + expert_bytes, round(2 * (dense + active * experts)), 2 * head, expert_bytes, active)


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


def tensors(model: Path) -> Iterator[tuple[str, int, int]]:
    """Name, elements and bytes of every tensor."""
    for path in sorted(model.glob("*.safetensors")):
        with path.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                start, end = tensor["data_offsets"]
                yield name, math.prod(tensor["shape"]), end - start
