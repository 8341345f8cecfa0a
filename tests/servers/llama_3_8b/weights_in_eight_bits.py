"""Rounds every weight matrix to eight bits per channel when it is loaded."""

from pathlib import Path

from starter_edits import edited

GROUP = "B1"
CHECK = "audit."


def make(starter: Path, into: Path) -> None:
    edited(
        starter, into,
        ("generation.py", "        self._model.generation_config.eos_token_id = None\n",
         "        self._model.generation_config.eos_token_id = None\n"
         "        for module in self._model.modules():\n"
         "            if isinstance(module, torch.nn.Linear):\n"
         "                scale = module.weight.float().abs().amax(1, keepdim=True) / 127\n"
         "                module.weight.data = ((module.weight / scale).round() * scale).to(module.weight.dtype)\n"),
    )  # fmt: skip
