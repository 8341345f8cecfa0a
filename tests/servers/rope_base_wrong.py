"""Rotates queries and keys by another base than the model was made with."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.request"


def make(starter: Path, into: Path) -> None:
    before = 'from_pretrained(folder, dtype="auto", local_files_only=True)'
    after = (
        'from_pretrained(\n            folder, dtype="auto", local_files_only=True,\n'
        '            rope_parameters={"rope_type": "default", "rope_theta": 20000.0},\n        )'
    )
    edited(starter, into, ("generation.py", before, after))
