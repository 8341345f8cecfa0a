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
    """Read a folder in Hugging Face layout; KeyError when config.json lacks a field.

    generation_config.json may name more end tokens than config.json does.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    generation = folder / "generation_config.json"
    said = json.loads(generation.read_text(encoding="utf-8")) if generation.is_file() else {}
    eos = said.get("eos_token_id", config["eos_token_id"])
    return Card(
        name=folder.resolve().name,
        context=config["max_position_embeddings"],
        vocabulary=config["vocab_size"],
        eos_ids=frozenset(eos if isinstance(eos, list) else [eos]),
    )
