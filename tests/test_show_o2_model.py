"""Show-o2 in its published layout: a small checkpoint made so draws what the same weights draw directly."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pytest_vibeserve.modalities.reference_file import functions
from pytest_vibeserve.target import load_target
from pytest_vibeserve.weights import model_folder

SETTINGS = SimpleNamespace(steps=2, guidance=3.0, width=64, height=64)


@pytest.fixture(scope="module")
def known() -> dict[str, object]:
    return dict(functions(load_target("show_o2_h100", "tiny").folder / "reference.py"))


@pytest.fixture(scope="module")
def small() -> Path:
    return model_folder(load_target("show_o2_h100", "tiny"))


@pytest.fixture(scope="module")
def published(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The small model as the hub has the large one: .bin files, a language model's config, a .pth of time kernels."""
    place = tmp_path_factory.mktemp("published")
    flow, words = place / "flow", place / "words"
    flow.mkdir()
    words.mkdir()
    stated = json.loads((small / "config.json").read_text())
    tensors = load_file(small / "model.safetensors") | {"showo.lm_head.weight": torch.zeros(2, 2)}
    names = sorted(tensors)
    random.Random(0).shuffle(names)
    for part in (0, 1):
        held = {name: tensors[name].float() for name in names[part::2]}
        torch.save(held, flow / f"pytorch_model-0000{part + 1}-of-00002.bin")
    config = {
        "image_latent_dim": 16, "patch_size": 2, "num_diffusion_layers": stated["head"]["layers"],
        "clip_heads": stated["vision"]["heads"], "head": stated["head"], "vae": stated["vae"],
    }  # fmt: skip
    (flow / "config.json").write_text(json.dumps(config))
    llm = stated["llm"]
    language = {
        "num_hidden_layers": llm["layers"], "num_attention_heads": llm["heads"], "rms_norm_eps": 1e-6,
        "intermediate_size": llm["intermediate"], "num_key_value_heads": llm["kv_heads"], "rope_theta": llm["rope"],
    }  # fmt: skip
    (words / "config.json").write_text(json.dumps(language))
    (words / "tokenizer.json").write_bytes((small / "tokenizer.json").read_bytes())
    torch.save(dict(_in_time(load_file(small / "vae.safetensors"))), place / "Wan2.1_VAE.pth")
    return flow, words, place / "Wan2.1_VAE.pth"


def _in_time(tensors: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    """Kernels with a dimension of time whose last slice is what one frame sees, among parts that draw nothing."""
    found = [("encoder.conv1.weight", torch.zeros(2, 3, 3, 3, 3)), ("conv1.bias", torch.zeros(3))]
    for name, tensor in tensors.items():
        plane = ("to_qkv" in name) or ("proj" in name) or ("resample" in name)
        if name.endswith("weight") and not plane:
            depth = 3 if tensor.shape[-1] == 3 else 1
            earlier = torch.randn(*tensor.shape[:2], depth - 1, *tensor.shape[2:])
            found.append((name, torch.cat((earlier, tensor.float()[:, :, None]), 2)))
        elif name.endswith("gamma") and "norm" not in name:
            found.append((name, tensor.float()[..., None]))
        else:
            found.append((name, tensor.float()))
    return found


def test_published_files_draw_what_the_same_weights_draw(
    known: dict, small: Path, published: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    known["assemble"](tmp_path, *published)
    noise = np.random.default_rng(1).standard_normal((16, 16, 16), dtype=np.float32)
    images = []
    for folder in (small, tmp_path):
        model = known["load"](folder, "float32", "sdpa")
        with torch.inference_mode():
            images.append(known["generate"](model, "a heron in fog", noise, SETTINGS))
    assert images[0].shape == (64, 64, 3)
    assert images[0].std() > 0.05
    assert np.allclose(*images, atol=1e-3)


def test_latents_of_an_odd_size_are_drawn(known: dict, small: Path) -> None:
    model = known["load"](small, "float32", "eager")
    noise = np.random.default_rng(1).standard_normal((16, 7, 9), dtype=np.float32)
    with torch.inference_mode():
        found = known["generate"](model, "a fox", noise, SimpleNamespace(steps=1, guidance=2.0, width=36, height=28))
    assert found.shape == (28, 36, 3)


def test_one_copy_of_the_matrices_computes_in_both_precisions(known: dict, small: Path) -> None:
    noise = np.random.default_rng(1).standard_normal((16, 16, 16), dtype=np.float32)
    plain = known["load"](small, "float32", "sdpa")
    wide, given = (known["load"](small, dtype, "sdpa", 0) for dtype in ("float32", "bfloat16"))
    own = {parameter.data_ptr() for parameter in wide.flow.parameters() if parameter.ndim == 2}
    assert own == {parameter.data_ptr() for parameter in given.flow.parameters() if parameter.ndim == 2}
    images = {}
    for name, model, attention in (("plain", plain, "sdpa"), ("wide", wide, "sdpa"), ("eager", wide, "eager")):
        known["attend"](model, attention)
        with torch.inference_mode():
            images[name] = known["generate"](model, "a heron in fog", noise, SETTINGS)
    assert np.allclose(images["plain"], images["wide"], atol=1e-4)
    assert np.allclose(images["wide"], images["eager"], atol=1e-4)
    assert not np.array_equal(images["wide"], images["eager"])
