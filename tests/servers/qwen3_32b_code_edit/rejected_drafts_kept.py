"""Drafts from the prediction, and leaves the first rejected token of each draft in its cache."""

from pathlib import Path

from starter_edits import altered, improved

GROUP = "E2"
CHECK = ("audit.", "predictions.")

BROKEN = """            if active.sequence.finished or active.sequence.tokens[-1:] != chunk.tokens[place : place + 1]:
"""


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "static-kv-decode", "predicted-output")
    slip = "    drafter: Drafter | None = None\n"
    altered(
        into,
        ("scheduler.py", slip, slip + "    slip: int = 0\n"),
        ("scheduler.py", "active.cached, tokens)\n", "active.cached + active.slip, tokens)\n"),
        ("scheduler.py", "active.cached, tokens + draft, ", "active.cached + active.slip, tokens + draft, "),
        ("scheduler.py", BROKEN, BROKEN + "                active.slip += place < len(chunk.tokens)\n"),
    )
