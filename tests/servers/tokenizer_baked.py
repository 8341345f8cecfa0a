"""Brings its own copy of the tokenizer, and does not look at the one in the model's folder."""

import shutil
from pathlib import Path

from starter_edits import edited

from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.target import load_target

GROUP = "A4"
CHECK = ("canary.text", "canary.prompt-ids")
DEPTH = "full"


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("text.py", 'str(folder / "tokenizer.json")', 'str(Path(__file__).with_name("words.json"))'))
    known = model_folder(load_target(str(starter.parent), "tiny"))
    shutil.copy(known / "tokenizer.json", into / "words.json")
