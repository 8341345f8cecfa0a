"""Eager attention in parts is eager attention."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from pytest_vibeserve.long_attention import LONG, NAME, fitting, in_parts
from pytest_vibeserve.reference import Context, Reference, model_folder
from pytest_vibeserve.target import load_target
from pytest_vibeserve.variants import Variant
from pytest_vibeserve.widening import load_as_given

SCENES = Path(__file__).resolve().parents[1] / "targets"


def test_only_long_contexts_are_computed_in_parts() -> None:
    assert fitting("eager", LONG) == "eager"
    assert fitting("eager", LONG + 1) == NAME
    assert fitting("sdpa", LONG + 1) == "sdpa"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_parts_of_any_size_give_the_same(dtype: torch.dtype, masked: bool) -> None:
    numbers = torch.Generator().manual_seed(1)
    query = torch.randn(2, 6, 37, 16, generator=numbers).to(dtype)
    key, value = (torch.randn(2, 3, 37, 16, generator=numbers).to(dtype) for _ in range(2))
    mask = torch.ones(37, 37, dtype=torch.bool).tril()[None, None].expand(2, 1, -1, -1) if masked else None
    module = torch.nn.Identity()
    whole, parts = (in_parts(module, query, key, value, mask, part=part)[0] for part in (37, 5))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("name", ["tiny_llama", "qwen3_32b_code_edit", "olmo_hybrid_prefix_cache"])
@torch.inference_mode()
def test_a_model_says_the_same_in_parts(name: str) -> None:
    folder = model_folder(load_target(str(SCENES / name), "tiny"))
    ids = torch.arange(40, 140)[None]
    model = load_as_given(folder, "bfloat16", "eager")
    whole = model(ids, use_cache=False).logits
    model.set_attn_implementation(fitting("eager", LONG + 1))
    assert torch.equal(model(ids, use_cache=False).logits, whole)


def test_the_reference_walks_a_context_beyond_the_limit() -> None:
    target = load_target(str(SCENES / "olmo_hybrid_prefix_cache"), "tiny")
    reference = Reference(model_folder(target), target)
    context = Context(tuple(5 + place % 400 for place in range(LONG + 50)), (7, 8, 9))
    variants = (Variant("eager", "float32", "eager"), Variant("sdpa"))
    ((_, (eager, plain)),) = reference.walk([context], variants)
    assert abs(eager - plain).max() < 1e-3
