"""Reads a chat's turns as one plain text, without the model's template."""

from pathlib import Path

from starter_edits import edited

GROUP = "B11"
CHECK = ("audit.", "load.")


def make(starter: Path, into: Path) -> None:
    edited(
        starter, into,
        ("chat.py", "self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)",
         '"\\n".join(turn["content"] for turn in turns)'),
    )  # fmt: skip
