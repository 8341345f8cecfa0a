"""Samples from the whole distribution whatever `top_p` and `top_k` say."""

from pathlib import Path

from starter_edits import edited

CHECK = "sampled.support"


def make(starter: Path, into: Path) -> None:
    edited(
        starter,
        into,
        ("sampling.py", "if 0 < self._top_k < weights.size:", "if False:"),
        ("sampling.py", "if self._top_p < 1:", "if False:"),
    )
