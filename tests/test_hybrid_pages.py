"""The hybrid model over shared pages computes what Transformers computes in float32, wherever texts part."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_vibeserve.library import imported

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "targets" / "olmo_hybrid_prefix_cache"
CONTEXT = 256
SIZES = {
    "hidden": 64, "layers": 4, "heads": 4, "key_dim": 12, "value_dim": 24, "intermediate": 128, "vocabulary": 512,
    "context": CONTEXT,
}  # fmt: skip
# Runs in a process of its own, in the candidate's folder.  Each text begins from what is remembered, computes its
# prompt up to where it should stop, its last tokens one by one beside the others, and is remembered in its turn.
FEED = """
import json, sys
from pathlib import Path
import numpy as np
from model import Chunk, Model
from prefixes import Prefixes, next_stop

ROOM, LAST = 16, 5

class Feed:
    def __init__(self, slots):
        self.model = Model(Path(sys.argv[1]), slots, CONTEXT)
        self.prefixes = Prefixes(self.model)
        self.rows, self.lengths, self.number = {}, [], 0

    def step(self, chunks):
        logits = iter(self.model.step([Chunk(slot, start, tokens, True) for _, slot, start, tokens in chunks]))
        for number, _, start, tokens in chunks:
            for place in range(start, start + len(tokens)):
                self.rows[f"{number} {place}"] = next(logits)

    def begin(self, slot, tokens):
        number, self.number = self.number, self.number + 1
        claim = self.prefixes.claim(slot, tokens, len(tokens) + ROOM)
        self.lengths.append(None if claim is None else claim.length)
        if claim is None:
            return []
        cached, text = claim.length, claim.text
        while cached < len(tokens) - LAST:
            end = min(next_stop(cached, claim.parting, len(tokens)), len(tokens) - LAST)
            self.step([(number, slot, cached, tokens[cached:end])])
            cached = end
            self.prefixes.keep(slot, text, cached)
        text.tokens = tokens[:cached]
        return [(number, slot, tokens, text, cached)]

    def batch(self, texts):
        begun = [one for slot, tokens in enumerate(texts) for one in self.begin(slot, tokens)]
        for ahead in range(LAST):
            left = [one for one in begun if one[4] + ahead < len(one[2])]
            self.step([(n, slot, at + ahead, [tokens[at + ahead]]) for n, slot, tokens, _, at in left])
        for _, slot, tokens, text, _ in begun:
            text.tokens = list(tokens)
            self.prefixes.keep(slot, text, len(tokens))
            self.prefixes.end(text)

said = {}
for name, (slots, batches) in json.loads(sys.argv[2]).items():
    feed = Feed(slots)
    for batch in batches:
        feed.batch(batch)
    np.savez(Path(sys.argv[3]) / name, **feed.rows)
    said[name] = {"lengths": feed.lengths, "pages": feed.model.pages}
print(json.dumps(said))
""".replace("CONTEXT", str(CONTEXT))
PARTINGS = [1, 63, 64, 129]
Batches = list[list[list[int]]]


def draws(count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(10, 500, size=count).tolist()


def parting() -> Batches:
    """For each place of parting a text, four that part from it there, and one of those again."""
    batches: Batches = []
    for parting in PARTINGS:
        beginning = draws(180, parting)
        others = [[*beginning[:parting], 500 + place, *draws(8 + place, 1000 + parting)] for place in range(4)]
        batches += [[beginning + draws(20, 500 + parting)], others, others[:1]]
    return batches


def crowded() -> Batches:
    """More texts than there is room for, one after the other."""
    draw = np.random.default_rng(9)
    beginnings = [draws(150, 30 + place) for place in range(3)]
    return [
        [beginnings[int(draw.integers(3))][: int(draw.integers(150))] + draws(int(draw.integers(8, 60)), 50 + number)]
        for number in range(16)
    ]


def full() -> Batches:
    """Three texts at once where two have room, and the third again."""
    batch = [draws(200, 70 + place) for place in range(3)]
    return [batch, batch[2:]]


SCENARIOS = {"parting": (40, parting()), "crowded": (2, crowded()), "full": (2, full())}


@dataclass(frozen=True)
class Computed:
    """What the candidate computed of each scenario, and the float32 and bfloat16 models of Transformers."""

    folder: Path
    said: dict[str, Any]
    reference: Any
    honest: Any

    def errors(self, name: str) -> tuple[float, float]:
        """The rms error of a scenario's rows against float32, and that of the bfloat16 model at the same places."""
        texts = [text for batch in SCENARIOS[name][1] for text in batch]
        with np.load(self.folder / f"{name}.npz") as found:
            rows = dict(found)
        ours, others = [], []
        for number in sorted({int(key.split()[0]) for key in rows}):
            exact, honest = logits(self.reference, texts[number]), logits(self.honest, texts[number])
            places = sorted(int(key.split()[1]) for key in rows if key.startswith(f"{number} "))
            assert places[-1] == len(texts[number]) - 1
            ours.append(np.stack([rows[f"{number} {place}"] for place in places]) - exact[places])
            others.append(honest[places] - exact[places])
        return rms(np.concatenate(ours)), rms(np.concatenate(others))


def logits(model: Any, tokens: list[int]) -> np.ndarray[Any, Any]:
    import torch

    with torch.no_grad():
        rows: np.ndarray[Any, Any] = model(torch.tensor([tokens])).logits[0].float().numpy()
    return rows


def rms(error: np.ndarray[Any, Any]) -> float:
    return float(np.sqrt(np.mean(np.square(error))))


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Computed:
    import torch
    from transformers import OlmoHybridForCausalLM

    root = tmp_path_factory.mktemp("hybrid")
    model, candidate = root / "model", root / "candidate"
    model.mkdir()
    imported(TARGET / "reference.py").build(model, seed=11, **SIZES)
    shutil.copytree(TARGET / "starter", candidate)
    for skill in ("hybrid-decode", "hybrid-prefix-cache"):
        recipe = ROOT / "skills" / skill / "scripts" / "recipe.py"
        subprocess.run([sys.executable, "-I", str(recipe), str(candidate)], check=True)
    command = [sys.executable, "-c", FEED, str(model), json.dumps(SCENARIOS), str(root)]
    done = subprocess.run(command, cwd=candidate, check=True, capture_output=True, text=True)
    models = [OlmoHybridForCausalLM.from_pretrained(model, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    return Computed(root, json.loads(done.stdout.splitlines()[-1]), *models)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_text_is_what_it_is_alone(computed: Computed, name: str) -> None:
    ours, honest = computed.errors(name)
    assert ours < 1.2 * honest


def test_a_text_goes_on_from_where_another_parts_from_it(computed: Computed) -> None:
    lengths = computed.said["parting"]["lengths"]
    for place, parting in enumerate(PARTINGS):
        first, *others, again = lengths[6 * place :][:6]
        # The first of the others goes on from a whole block and leaves a copy where it parts for the next three.
        assert (first, others) == (0, [parting // 64 * 64, parting, parting, parting])
        assert again == parting + 4


def test_old_texts_make_place(computed: Computed) -> None:
    said = computed.said["crowded"]
    assert said["pages"] == 8
    assert None not in said["lengths"]
    assert any(said["lengths"])


def test_a_prompt_waits_while_texts_that_go_on_hold_the_pages(computed: Computed) -> None:
    assert computed.said["full"]["lengths"] == [0, 0, None, 0]
