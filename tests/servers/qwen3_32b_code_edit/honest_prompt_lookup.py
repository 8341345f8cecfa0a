"""Drafts from the prompt and the answer so far, and does not look at the prediction."""

from pathlib import Path

from starter_edits import improved


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "static-kv-decode", "prompt-lookup-speculation")
