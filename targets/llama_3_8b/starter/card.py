"""What the model's folder says about the model: name, context, vocabulary and end tokens."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Card:
    """The served model: `context` in tokens (prompt and answer together), `vocabulary` in ids."""

    name: str
    context: int
    vocabulary: int
    eos_ids: frozenset[int]


def read_card(folder: Path) -> Card:
    """Read config.json of a folder in Hugging Face layout; KeyError when a field is missing."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    eos = config["eos_token_id"]
    return Card(
        name=folder.resolve().name,
        context=config["max_position_embeddings"],
        vocabulary=config["vocab_size"],
        eos_ids=frozenset(eos if isinstance(eos, list) else [eos]),
    )
