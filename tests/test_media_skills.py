"""What the skills of speech, image and JSON make of a starter says and draws what the starter does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pytest_vibeserve.target import load_target
from pytest_vibeserve.weights import model_folder

ROOT = Path(__file__).resolve().parents[1]
# Each program runs in a candidate's folder, given the model's, and prints JSON.
HEARING = """
import json, sys
from pathlib import Path
import numpy as np, torch
from hearing import Model
model = Model(Path(sys.argv[1]))
model.net.float()
drawn = np.random.default_rng(4)
clip = (3000 * np.sin(np.cumsum(drawn.uniform(0.01, 0.4, 23_456)))).astype(np.int16)
found = [model.transcribe(clip[:end], 9).ids for end in (1600, 5000, 9700, 23_456)]
if hasattr(model, "begin"):
    memory, ends = model.begin(), [1600, 2001, 5000, 9700, 9701, 16_000, 23_456]
    streamed = []
    for start, end in zip([0, *ends], ends):
        model.hear(memory, clip[start:end])
        streamed.append(model.transcripts([memory, memory], [9, 4])[0].ids)
    assert [streamed[i] for i in (0, 2, 3, 6)] == found, (streamed, found)
print(json.dumps(found))
"""
PAINTING = """
import json, sys
from pathlib import Path
import numpy as np, torch
from painter import Painter
painter = Painter.load(Path(sys.argv[1]), torch.float32)
noise = np.random.default_rng(2).standard_normal((16, 16, 16), dtype=np.float32)
with torch.inference_mode():
    pixels = [painter.paint(words, noise, 3, 4.0) for words in ("a fox in fog", "", "by the sea " * 60)]
print(json.dumps(np.stack(pixels)[:, ::4, ::4].tolist()))
"""
CHATTING = """
import json, sys
from pathlib import Path
import torch
from decoding import Choosing, Decoder
decoder = Decoder(Path(sys.argv[1]))
decoder._net.float()
schema = {"type": "object", "properties": {"colour": {"enum": ["amber", "violet"]}, "urgent": {"type": "boolean"},
    "count": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["colour", "urgent", "count"],
    "additionalProperties": False}
found = []
for start in range(5, 25):
    said = []
    for step in decoder.steps([0, start, 40, 90, 7], Choosing(temperature=0.0), decoder.grammar(schema)):
        said += step.ids
        if step.ids[-1] in decoder.ends or len(said) > 60:
            break
    found.append(decoder._tokens.decode_str([token for token in said if token not in decoder.ends]))
free = decoder.steps([0, 9, 40, 90, 7], Choosing(temperature=0.0), None)
print(json.dumps([found, [next(free).ids for _ in range(12)]]))
"""


def printed(folder: Path, program: str, model: Path) -> object:
    command = [sys.executable, "-c", program, str(model)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def edited(target: str, skill: str, folder: Path) -> Path:
    shutil.copytree(ROOT / "targets" / target / "starter", folder)
    recipe = ROOT / "skills" / skill / "scripts" / "recipe.py"
    subprocess.run([sys.executable, "-I", str(recipe), str(folder)], check=True, capture_output=True)
    return folder


def both(target: str, skill: str, program: str, place: Path) -> tuple[object, object]:
    model = model_folder(load_target(target, "tiny"))
    starter = ROOT / "targets" / target / "starter"
    return printed(starter, program, model), printed(edited(target, skill, place / "candidate"), program, model)


def test_audio_heard_as_it_comes_is_understood_as_a_whole(tmp_path: Path) -> None:
    plain, incremental = both("moonshine_streaming", "incremental-audio-encoder", HEARING, tmp_path)
    assert plain == incremental


def test_words_kept_over_all_steps_draw_the_same_image(tmp_path: Path) -> None:
    plain, kept = both("show_o2_h100", "flow-prefix-state", PAINTING, tmp_path)
    assert np.allclose(np.asarray(plain), np.asarray(kept), atol=2e-4)


@pytest.mark.slow
def test_forced_text_leaves_the_models_choices_alone(tmp_path: Path) -> None:
    plain, jumped = both("llama_mlx_json", "grammar-jump-forward", CHATTING, tmp_path)
    assert isinstance(plain, list)
    assert isinstance(jumped, list)
    assert plain[1] == jumped[1]
    keys = [set(json.loads(text)) for text in (*plain[0], *jumped[0])]
    assert all(one == {"colour", "urgent", "count"} for one in keys)
    # The same document may be cut into other tokens, after which the model may prefer another value now and then.
    assert sum(one == other for one, other in zip(plain[0], jumped[0], strict=True)) >= 10
