"""Attends by PyTorch's fused operator in bfloat16, which is what the starter does too, spelt out."""

from pathlib import Path

from starter_edits import edited


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("generation.py", 'dtype="auto"', 'dtype="bfloat16", attn_implementation="sdpa"'))
