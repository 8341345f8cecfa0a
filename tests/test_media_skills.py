"""What the skills of speech, image and JSON make of a starter says and draws what the starter does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
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
KEPT = ("flow-prefix-state",)
PAINTING = """
import json, sys
from pathlib import Path
import numpy as np, torch
from painter import Painter
painter = Painter.load(Path(sys.argv[1]), torch.float32)
if "step" in vars(painter):
    with torch.inference_mode():
        painter.compile_step()
noise = np.random.default_rng(2).standard_normal((16, 16, 16), dtype=np.float32)
with torch.inference_mode():
    pixels = [painter.paint(words, noise, 3, 4.0) for words in ("a fox in fog", "", "by the sea " * 60)]
print(json.dumps(np.stack(pixels)[:, ::4, ::4].tolist()))
"""
# Of the model's own size and of another, whose positions are stretched.
SIZED = """
import json, sys
from pathlib import Path
import numpy as np
{load}
draws, found = np.random.default_rng(3), []
for words, shape in ("a fox in fog", (16, 16, 16)), ("", (16, 16, 16)), ("by the sea " * 60, (16, 12, 20)):
    found.append(painter.paint(words, draws.standard_normal(shape, dtype=np.float32), 4, 4.0).ravel().tolist())
print(json.dumps(found))
"""
IN_TORCH = SIZED.format(
    load="""
import torch
from painter import Painter
torch.set_grad_enabled(False)
painter = Painter.load(Path(sys.argv[1]), torch.float32)
"""
)
COMPILED = SIZED.format(load="from painter import Painter; painter = Painter(Path(sys.argv[1]))")
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
found, steps = [], 0
for start in range(5, 25):
    said = []
    for step in decoder.steps([0, start, 40, 90, 7], Choosing(temperature=0.0), decoder.grammar(schema)):
        said, steps = said + step.ids, steps + 1
        if step.ids[-1] in decoder.ends or len(said) > 60:
            break
    found.append(decoder._tokens.decode_str([token for token in said if token not in decoder.ends]))
free = decoder.steps([0, 9, 40, 90, 7], Choosing(temperature=0.0), None)
text = []
while len(text) < 12:
    text += next(free).ids
print(json.dumps([found, text[:12], steps]))
"""


def printed(folder: Path, program: str, model: Path) -> object:
    command = [sys.executable, "-c", program, str(model)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def edited(target: str, skills: tuple[str, ...], folder: Path) -> Path:
    shutil.copytree(ROOT / "targets" / target / "starter", folder)
    for skill in skills:
        recipe = ROOT / "skills" / skill / "scripts" / "recipe.py"
        subprocess.run([sys.executable, "-I", str(recipe), str(folder)], check=True, capture_output=True)
    return folder


@cache
def plainly(target: str, program: str) -> object:
    """What the starter says or draws."""
    return printed(ROOT / "targets" / target / "starter", program, model_folder(load_target(target, "tiny")))


def both(target: str, skills: tuple[str, ...], program: str, place: Path) -> tuple[object, object]:
    changed = edited(target, skills, place / "candidate")
    return plainly(target, program), printed(changed, program, model_folder(load_target(target, "tiny")))


def test_audio_heard_as_it_comes_is_understood_as_a_whole(tmp_path: Path) -> None:
    plain, incremental = both("moonshine_streaming", ("incremental-audio-encoder",), HEARING, tmp_path)
    assert plain == incremental


@pytest.mark.parametrize(
    "skills",
    [
        KEPT,
        (*KEPT, "inactive-token-skipping"),
        ("channels-last-decoder",),
        pytest.param((*KEPT, "inactive-token-skipping", "compiled-flow-step"), marks=pytest.mark.slow),
    ],
    ids=lambda skills: skills[-1],
)
def test_what_a_step_need_not_compute_changes_no_image(skills: tuple[str, ...], tmp_path: Path) -> None:
    if "compiled-flow-step" in skills and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    plain, kept = both("show_o2_h100", skills, PAINTING, tmp_path)
    assert np.allclose(np.asarray(plain), np.asarray(kept), atol=2e-4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_image_errs_less_than_honest_bfloat16_in_torch_does(tmp_path: Path) -> None:
    folder = edited("show_o2_h100", ("compiled-image",), tmp_path / "candidate")
    subprocess.run([sys.executable, "build.py"], cwd=folder, check=True, timeout=300)
    exact = plainly("show_o2_h100", IN_TORCH)
    rounded = plainly("show_o2_h100", IN_TORCH.replace("float32)\n", "bfloat16)\n"))
    found = printed(folder, COMPILED, model_folder(load_target("show_o2_h100", "tiny")))
    for image, honest, truth in zip(*(map(np.asarray, images) for images in (found, rounded, exact)), strict=True):
        assert image.shape == truth.shape
        assert 0 < np.square(image - truth).mean() < np.square(honest - truth).mean()


def test_a_llama_written_out_says_what_the_library_says(tmp_path: Path) -> None:
    plain, written = both("llama_mlx_json", ("static-cache-decode",), CHATTING, tmp_path)
    assert plain == written


@pytest.mark.slow
@pytest.mark.parametrize("before", [(), ("static-cache-decode",)], ids=["library", "written out"])
def test_forced_text_leaves_the_models_choices_alone(before: tuple[str, ...], tmp_path: Path) -> None:
    plain, jumped = both("llama_mlx_json", (*before, "grammar-jump-forward"), CHATTING, tmp_path)
    assert isinstance(plain, list)
    assert isinstance(jumped, list)
    assert plain[1] == jumped[1]
    keys = [set(json.loads(text)) for text in (*plain[0], *jumped[0])]
    assert all(one == {"colour", "urgent", "count"} for one in keys)
    # The same document may be cut into other tokens, after which the model may prefer another value now and then.
    assert sum(one == other for one, other in zip(plain[0], jumped[0], strict=True)) >= 10


@pytest.mark.parametrize("layers", [1, 4], ids=["first", "all"])
def test_guesses_change_no_answer_and_save_steps_where_they_come_true(layers: int, tmp_path: Path) -> None:
    before = ("static-cache-decode", "grammar-jump-forward")
    folder = edited("llama_mlx_json", (*before, "draft-model"), tmp_path / "candidate")
    model = model_folder(load_target("llama_mlx_json", "tiny"))
    found = {}
    for most in (0, 3):
        # Guessed with all layers, the whole model's choices come true.
        given = f"import drafting, decoding\ndrafting.LONGEST, decoding.SHARE = {most}, {4 // layers}\n"
        found[most] = printed(folder, given + CHATTING, model)
    assert isinstance(found[0], list)
    assert isinstance(found[3], list)
    assert found[0][:2] == found[3][:2]
    assert found[3][2] < found[0][2] if layers == 4 else found[3][2] <= found[0][2]
