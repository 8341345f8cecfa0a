"""Steps all sequences together over static caches, prompts in pieces beside them."""

from pathlib import Path

from starter_edits import improved


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "static-kv-decode", "continuous-batching", "chunked-prefill")
