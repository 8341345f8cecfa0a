"""Takes `logit_bias` and does nothing with it."""

from pathlib import Path

from starter_edits import edited

CHECK = "interface.logit-bias"


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("protocol.py", "logit_bias=_bias(body.logit_bias, card),", "logit_bias=(),"))
