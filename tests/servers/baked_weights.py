"""Draws its weights by the published recipe, whatever the model's folder holds."""

import math
from pathlib import Path

import torch

import generation
import server

GROUP = "A4"
CHECK = "canary"
DEPTH = "full"
SEED = 20260506
GAINS = {"q_proj": 1.5, "k_proj": 1.5, "lm_head": 2.5}


class Baked(generation.Model):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        known = torch.Generator().manual_seed(SEED)
        order = [
            "model.embed_tokens",
            *(f"model.layers.{index}.{part}" for index in range(self.depth) for part in PARTS),
        ]
        for name in [*order, "lm_head"]:
            rows, columns = self.weights[f"{name}.weight"].shape
            gain = math.sqrt(columns) if "embed" in name else GAINS.get(name.rsplit(".", 1)[-1], 1.0)
            drawn = torch.randn(rows, columns, generator=known, dtype=torch.float32) * (gain / math.sqrt(columns))
            self.weights[f"{name}.weight"] = drawn.to(torch.bfloat16).float().numpy()


PARTS = (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip
generation.Generator.model_class = Baked
server.main()
