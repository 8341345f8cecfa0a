"""Drafts thirty-one tokens ahead, with fused products."""

from pathlib import Path

from starter_edits import improved


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "static-kv-decode", "fused-projections", "predicted-output:draft-31")
