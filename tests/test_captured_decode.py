"""Decode steps in a few shapes say what plain steps say, and a server that makes them keeps its contract."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from completion_contract import CompletionContract, Served, served

from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.weights import model_folder

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ("static-kv-decode", "continuous-batching", "chunked-prefill")
STEPS = """
import sys
from pathlib import Path
import numpy as np
from model import Chunk, Model
model = Model(Path(sys.argv[1]), 6, 700)
prompts = {0: 9, 2: 250, 3: 40, 5: 257}
model.step([Chunk(slot, 0, [20 + (slot + place) % 90 for place in range(n)]) for slot, n in prompts.items()])
found, lengths = [], dict(prompts)
for active in ((0,), (3, 0), (0, 2, 3, 5), (5, 2), (0, 2, 3, 5), (2,)):
    found.append(model.step([Chunk(slot, lengths[slot], [30 + slot]) for slot in active]))
    for slot in active:
        lengths[slot] += 1
found.append(model.step([Chunk(2, lengths[2], [41, 42], every=True), Chunk(5, lengths[5], [43])]))
np.save(sys.argv[2], np.concatenate(found))
"""


def made(folder: Path, target: str, skills: Sequence[str]) -> Path:
    """A target's starter with skills applied."""
    shutil.copytree(ROOT / "targets" / target / "starter", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for skill in skills:
        recipe = ROOT / "skills" / skill / "scripts" / "recipe.py"
        subprocess.run([sys.executable, "-I", str(recipe), str(folder)], check=True, capture_output=True, timeout=60)
    return folder


@pytest.mark.parametrize("target", ["tiny_llama", "qwen3_32b_code_edit"])
def test_steps_of_one_shape_say_what_plain_steps_say(target: str, tmp_path: Path) -> None:
    model, logits = model_folder(load_target(target, "tiny")), []
    for name, skills in (("plain", PLAIN), ("shaped", (*PLAIN, "captured-decode"))):
        folder = made(tmp_path / name, target, skills)
        command = [sys.executable, "-c", STEPS, str(model), str(folder / "logits.npy")]
        subprocess.run(command, cwd=folder, check=True, timeout=120)
        logits.append(np.load(folder / "logits.npy"))
    plain, shaped = logits
    assert plain.shape == shaped.shape == (17, plain.shape[1])
    assert np.abs(plain - shaped).max() < 0.25
    assert (plain.argmax(1) == shaped.argmax(1)).mean() > 0.9


def test_there_are_as_many_slots_as_the_variant_says_once_there_are_several(tmp_path: Path) -> None:
    alone = made(tmp_path / "alone", "llama_3_8b", ("static-kv-decode", "captured-decode"))
    batched = made(tmp_path / "batched", "llama_3_8b", (*PLAIN, "captured-decode"))
    assert "SLOTS = 1\n" in (alone / "scheduler.py").read_text(encoding="utf-8")
    assert "SLOTS = 32\n" in (batched / "scheduler.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The smallest starter with captured steps, which on CPU run plain."""
    folder = made(tmp_path_factory.mktemp("captured") / "candidate", "tiny_llama", (*PLAIN, "captured-decode"))
    with served(folder, model_folder(tiny)) as running:
        yield running


class TestCapturedDecode(CompletionContract):
    """Every test of the contract, asked of it."""
