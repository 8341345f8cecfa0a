"""Rounds every weight matrix to eight bits per channel when it is loaded."""

from pathlib import Path

from starter_edits import edited

CHECK = ("audit.request", "audit.margin", "audit.logprobs", "audit.signature")
QUANTISE = """
        for name, weight in self._model.named_parameters():
            if weight.dim() == 2 and "embed" not in name:
                scale = weight.data.float().abs().amax(1, keepdim=True) / 127
                weight.data = ((weight.data.float() / scale).round() * scale).to(weight.dtype)
"""


def make(starter: Path, into: Path) -> None:
    before = "        self._model.generation_config.eos_token_id = None\n"
    edited(starter, into, ("generation.py", before, before + QUANTISE.lstrip("\n")))
