"""Canary tokenizer: the same words under other numbers, which nobody can have built into a server."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

TOKENIZER, WORDS = "tokenizer.json", "vocab.json"
OTHER_FORMS = ("tokenizer.model", "spiece.model", "*.tiktoken")
"""Files that hold a vocabulary too and are not written here: a model that has one keeps its numbers."""


def renumber(folder: Path, draws: random.Random) -> bool:
    """Exchange the ids of a model folder's tokens among each other, in place; whether that could be done.

    Texts are cut as before.  Added tokens, special ones among them, and the unknown token keep their ids, so that the
    model's configuration stays true.
    """
    path = folder / TOKENIZER
    if not path.is_file() or any(True for form in OTHER_FORMS for _ in folder.glob(form)):
        return False
    stated: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    model = stated["model"]
    if not isinstance(model.get("vocab"), dict):
        return False
    kept = {entry["id"] for entry in stated.get("added_tokens") or ()} | {model["vocab"].get(model.get("unk_token"))}
    numbers = sorted(number for number in model["vocab"].values() if number not in kept)
    others = dict(zip(numbers, draws.sample(numbers, len(numbers)), strict=True))
    model["vocab"] = _under(model["vocab"], others)
    path.write_text(json.dumps(stated), encoding="utf-8")
    words = folder / WORDS
    if words.is_file():
        words.write_text(json.dumps(_under(json.loads(words.read_text(encoding="utf-8")), others)), encoding="utf-8")
    return True


def _under(words: dict[str, int], others: dict[int, int]) -> dict[str, int]:
    found = {word: others.get(number, number) for word, number in words.items()}
    return dict(sorted(found.items(), key=lambda pair: pair[1]))
