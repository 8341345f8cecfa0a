"""The eight-bit layout is MLX's own: what is packed can be multiplied out, by us and, where it is installed, by MLX."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_vibeserve.modalities.reference_file import functions
from pytest_vibeserve.reference import Context, Reference
from pytest_vibeserve.target import load_target
from pytest_vibeserve.variants import REFERENCE, Variant
from pytest_vibeserve.weights import model_folder


@pytest.fixture(scope="module")
def layout() -> object:
    """The starter's module that reads the layout."""
    functions(load_target("llama_mlx_json", "tiny").folder / "reference.py")
    import quantised

    return quantised


@pytest.mark.parametrize("bits", [4, 8])
def test_what_is_packed_comes_back_within_half_a_step(layout, bits: int) -> None:
    weight = torch.randn(6, 128, generator=torch.Generator().manual_seed(3))
    words, scales, biases = layout.packed(weight, bits, 64)
    assert words.dtype == torch.uint32
    assert words.shape == (6, 128 * bits // 32)
    error = (layout.multiplied(words, scales, biases, bits, 64) - weight).abs().view(6, 2, 64)
    assert (error <= 0.75 * scales.float()[..., None] + 0.02).all()


def test_the_tiny_model_is_in_the_published_layout(layout) -> None:
    folder = model_folder(load_target("llama_mlx_json", "tiny"))
    stored = layout.Stored(folder)
    assert {"model.embed_tokens.scales", "lm_head.biases", "model.layers.3.mlp.down_proj.weight"} <= set(stored)
    assert stored["model.layers.0.self_attn.q_proj.weight"].dtype == torch.uint32
    assert layout.load(folder, torch.float32)(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, 1024)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_packed_model_says_what_the_multiplied_one_says(layout, dtype: torch.dtype) -> None:
    folder = model_folder(load_target("llama_mlx_json", "tiny"))
    ids = torch.tensor([[5, 9, 200, 31, 7], [1, 2, 3, 4, 5]])
    plain, packed = (layout.load(folder, dtype, large=large) for large in (10**12, 0))
    assert torch.equal(plain(ids).logits, packed(ids).logits)
    assert {type(module).__name__ for module in packed.modules()} >= {"PackedLinear", "PackedEmbedding"}


@torch.inference_mode()
def test_a_packed_model_computes_in_both_precisions_from_one_copy(layout) -> None:
    folder = model_folder(load_target("llama_mlx_json", "tiny"))
    ids = torch.tensor([[5, 9, 200, 31, 7]])
    given = layout.load(folder, torch.bfloat16, large=0)
    wide = layout.twin(given, torch.float32)
    torch.testing.assert_close(wide(ids).logits, layout.load(folder, torch.float32)(ids).logits)
    assert given(ids).logits.dtype == torch.bfloat16
    bytes_ = {one.data_ptr() for one in wide.parameters() if one.dtype == torch.uint8}
    assert bytes_ == {one.data_ptr() for one in given.parameters() if one.dtype == torch.uint8}


def test_forbidden_computations_can_be_made_of_a_packed_model(layout) -> None:
    target = load_target("llama_mlx_json", "tiny")
    reference = Reference(model_folder(target), target)
    reference._models["float32", ""] = layout.load(reference.folder, torch.float32, large=0)
    variants = (
        REFERENCE,
        Variant("q", weights="int4 in groups of 32"),
        Variant("s", skipped=1),
        Variant("h", splits=2),
    )
    context = Context((5, 9, 200, 31), (7, 8, 100))
    ((_, (plain, *others)),) = reference.walk([context], variants)
    assert all(float(abs(plain - other).max()) > 1e-7 for other in others)


@pytest.mark.skipif(importlib.util.find_spec("mlx") is None, reason="MLX is not installed")
def test_mlx_reads_the_same_weights(layout) -> None:
    mx = pytest.importorskip("mlx.core")
    folder: Path = model_folder(load_target("llama_mlx_json", "tiny"))
    theirs = mx.load(str(folder / "model.safetensors"))
    stem = "model.layers.1.mlp.up_proj"
    found = mx.dequantize(*(theirs[f"{stem}.{part}"] for part in ("weight", "scales", "biases")), group_size=64, bits=8)
    ours = dict(layout.unpacked(layout.Stored(folder), 8, 64))[f"{stem}.weight"]
    assert np.allclose(np.asarray(found.astype(mx.float32)), ours.numpy(), atol=2e-2)
