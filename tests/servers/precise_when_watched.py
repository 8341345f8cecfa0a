"""Computes with six-bit weights wherever logprobs, which would show it, are not asked for."""

from pathlib import Path

from starter_edits import edited

CHECK = ("audit.request", "audit.margin", "audit.groups")
SECOND = """
        import copy

        self._exact, self._model = self._model, copy.deepcopy(self._model)
        for name, weight in self._model.named_parameters():
            if weight.dim() == 2 and "embed" not in name:
                scale = weight.data.float().abs().amax(1, keepdim=True) / 31
                weight.data = ((weight.data.float() / scale).round() * scale).to(weight.dtype)
"""


def make(starter: Path, into: Path) -> None:
    before = "        self._model.generation_config.eos_token_id = None\n"
    choosing = (
        "        model = self._model if sequence.request.logprobs is None else self._exact\n        model.generate("
    )
    edited(
        starter,
        into,
        ("generation.py", before, before + SECOND.lstrip("\n")),
        ("generation.py", "        self._model.generate(", choosing),
    )
