"""Leaves out the last decoder layer."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.request"


def make(starter: Path, into: Path) -> None:
    before = "        self._model.generation_config.eos_token_id = None\n"
    edited(
        starter,
        into,
        ("generation.py", before, before + "        self._model.model.layers = self._model.model.layers[:-1]\n"),
    )
