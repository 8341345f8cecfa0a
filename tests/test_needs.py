"""What answers need follows from the model's files by arithmetic that can be checked by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from test_ceiling import a_model

from pytest_vibeserve.ceiling import cost
from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.integrity import Run
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.modalities.image.wire import ImageRequest
from pytest_vibeserve.modalities.speech.audio import Clip
from pytest_vibeserve.modalities.speech.wire import SpeechRequest, StreamAnswer
from pytest_vibeserve.needs import Need, needs
from pytest_vibeserve.workload import Request

TOKENS = 5


def files(folder: Path, config: dict[str, object], **shapes: list[int]) -> Path:
    """A model folder of two bytes an element; `__` in a name stands for a point."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name.replace("__", ".")] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def answered(request: Request, kind: type[Answer] = Answer) -> Answer:
    return kind(request, 200, "", (Choice(0, tuple(range(TOKENS)), "", "length"),), done_s=1.0)


def a_run(answer: Answer, load: Load | None = None) -> Run:
    return Run(load or Load(name="c1"), (Block((answer,), 1.0),))


def need(model: Path, modality: str, answer: Answer, load: Load | None = None) -> Need:
    found = needs(model, modality)
    assert found is not None
    return found.of(a_run(answer, load), answer)


def test_text_needs_its_prompt_and_its_tokens_and_a_pass_for_each(tmp_path: Path) -> None:
    model = a_model(tmp_path)
    work, answer = cost(model), answered(Request(id=0, prompt_ids=(1, 2, 3), max_tokens=TOKENS))
    found = need(model, "text", answer)
    assert found == Need(work.operations(3, TOKENS), work.operations(3, 1), TOKENS)


def test_what_a_store_of_prefixes_may_know_is_not_needed(tmp_path: Path) -> None:
    model = a_model(tmp_path)
    known = answered(Request(id=0, prompt_ids=(1, 2, 3), max_tokens=TOKENS, kind="shared prefix"))
    found = need(model, "text", known)
    assert (found.operations, found.first) == (cost(model).operations(0, TOKENS), 0)
    fresh = answered(Request(id=0, prompt_ids=(1, 2, 3), max_tokens=TOKENS))
    assert need(model, "text", fresh, Load(name="s", arrival="sessions")).first == 0


@pytest.fixture
def hearing(tmp_path: Path) -> Path:
    config: dict[str, object] = {"model_type": "moonshine_streaming", "encoder_config": {"frame_ms": 5.0}}
    return files(
        tmp_path, config, model__encoder__layers__0__mlp__fc1__weight=[10, 10],
        model__decoder__layers__0__encoder_attn__k_proj__weight=[5, 10],
        model__decoder__layers__0__mlp__fc1__weight=[20, 10], model__decoder__pos_emb__weight=[99, 9],
        model__decoder__embed_tokens__weight=[50, 10], proj_out__weight=[50, 10],
    )  # fmt: skip


def said(seconds: float, chunk_s: float = 0.5) -> SpeechRequest:
    clip = Clip(np.zeros(round(16_000 * seconds), dtype=np.int16), 16_000)
    return SpeechRequest(id=0, prompt_ids=(0,), max_tokens=8, stream=False, clip=clip, chunk_s=chunk_s)


def test_speech_needs_the_encoder_for_its_audio_and_the_decoder_for_its_tokens(hearing: Path) -> None:
    frame, token = 2 * (100 + 50), 2 * (200 + 500)
    assert need(hearing, "speech", answered(said(2.0))) == Need(100 * frame + TOKENS * token, 0.0, TOKENS)
    found = needs(hearing, "speech")
    assert found is not None
    assert found.weight_bytes == found.step_bytes(8) == token


def test_a_stream_needs_most_of_its_first_frame_before_its_first_token(hearing: Path) -> None:
    frame, token = 2 * (100 + 50), 2 * (200 + 500)
    found = need(hearing, "speech", answered(said(2.0), StreamAnswer))
    assert found == Need(token, int(0.45 * 50) * frame + token, 1.0)


@pytest.mark.parametrize(("guidance", "passes"), [(1.0, 1), (5.0, 2)])
def test_an_image_needs_all_its_patches_in_every_step(tmp_path: Path, guidance: float, passes: int) -> None:
    model = files(
        tmp_path, {"model_type": "show_o2", "patch": 2}, showo__model__layers__0__mlp__weight=[10, 10],
        diffusion_head_a__0__mlp__weight=[10, 20], diffusion_head_a__0__adaLN_modulation__1__weight=[60, 10],
        und_trans__layers__0__mlp__weight=[10, 40], showo__model__embed_tokens__weight=[99, 10],
    )  # fmt: skip
    request = ImageRequest(
        id=0, prompt_ids=(0,), max_tokens=0, stream=False, steps=3, guidance=guidance, shape=(4, 8, 6)
    )
    found = need(model, "image", answered(request))
    assert found == Need(3 * 12 * (passes * 2 * 300 + 2 * 400), 0.0, 3)


def test_a_model_of_an_unknown_kind_has_no_needs(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "another"}')
    assert needs(tmp_path, "image") is None
    assert needs(tmp_path, "speech") is None
