"""A model that is widened while it computes says what the float32 model says, from one copy of its weights."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from pytest_vibeserve.reference import Context, Reference, model_folder
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.variants import REFERENCE, Variant
from pytest_vibeserve.widening import load_as_given

SCENES = Path(__file__).resolve().parents[1] / "targets"
CONTEXTS = [Context((5, 9, 200, 31), (7, 8, 100)), Context((11, 12), (13, 14, 15, 16))]


@pytest.fixture(scope="module", params=["tiny_llama", "qwen3_32b_code_edit", "olmo_hybrid_prefix_cache"])
def folder(request: pytest.FixtureRequest) -> Path:
    return model_folder(load_target(str(SCENES / request.param), "tiny"))


@torch.inference_mode()
def test_logits_are_those_of_float32(folder: Path) -> None:
    ids = torch.tensor([list(range(40, 80))])
    wide, plain = (load_as_given(folder, "float32", "sdpa", limit)(ids).logits for limit in (0, 10**12))
    assert wide.dtype == torch.float32
    torch.testing.assert_close(wide, plain, rtol=1e-4, atol=1e-4)


def test_every_precision_shares_one_copy_of_the_matrices(folder: Path) -> None:
    wide, given = (load_as_given(folder, dtype, "sdpa", 0) for dtype in ("float32", "bfloat16"))
    matrices = {parameter.data_ptr() for parameter in given.parameters() if parameter.ndim == 2}
    own = [parameter for parameter in wide.parameters() if parameter.data_ptr() not in matrices]
    assert all(parameter.ndim != 2 or parameter.dtype == torch.float32 for parameter in own)
    assert sum(parameter.numel() for parameter in own) < 0.1 * sum(parameter.numel() for parameter in wide.parameters())
    assert {parameter.dtype for parameter in given.parameters() if parameter.ndim == 2} == {torch.bfloat16}


def test_forbidden_computations_can_be_made_of_it(tiny: Target) -> None:
    reference = Reference(model_folder(tiny), tiny)
    reference._models["float32", ""] = load_as_given(reference.folder, "float32", "sdpa", 0)
    variants = (REFERENCE, Variant("q", weights="int8 per channel"), Variant("s", skipped=1), Variant("r", rope=0.5))
    for _, (plain, *others) in reference.walk(CONTEXTS, variants):
        assert all(float(abs(plain - other).max()) > 1e-4 for other in others)
