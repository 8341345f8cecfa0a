"""What a model's folder says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def setting(model: Path, name: str) -> Any:
    """A setting of generation_config.json or else of config.json, None where neither has it."""
    for file in ("generation_config.json", "config.json"):
        path = model / file
        found = json.loads(path.read_text(encoding="utf-8")).get(name) if path.is_file() else None
        if found is not None:
            return found
    return None


def end_ids(model: Path) -> frozenset[int]:
    """The ids that end an answer."""
    found = setting(model, "eos_token_id")
    return frozenset() if found is None else frozenset([found] if isinstance(found, int) else found)
