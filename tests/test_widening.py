"""A model that is widened while it computes says what the float32 model says, from one copy of its weights."""

from __future__ import annotations

import gc
import random
import weakref
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.calibration import Calibration
from pytest_vibeserve.judge.canary import perturbed, write_copy
from pytest_vibeserve.reference import Context, Reference, model_folder
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.variants import REFERENCE, Variant
from pytest_vibeserve.widening import load_as_given

SCENES = Path(__file__).resolve().parents[1] / "targets"
CONTEXTS = [Context((5, 9, 200, 31), (7, 8, 100)), Context((11, 12), (13, 14, 15, 16))]

SO_NOISY = 0.2


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


def test_a_folder_that_is_written_again_is_read_again(tiny: Target, tmp_path: Path) -> None:
    folder, kept = tmp_path / "copy", []
    for strength in (0.1, 0.2):
        write_copy(model_folder(tiny), folder, 5, strength)
        kept.append(load_as_given(folder, "bfloat16", "sdpa", 0))
    first, second = (model.state_dict() for model in kept)
    assert any(not torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_weights_are_kept_as_long_as_anybody_computes_with_them(tiny: Target) -> None:
    folder = model_folder(tiny)
    wide = load_as_given(folder, "float32", "sdpa", 0)
    given = wide.__dict__["given"]
    assert load_as_given(folder, "bfloat16", "sdpa", 0) is given
    gone = weakref.ref(given)
    del wide, given
    gc.collect()
    assert gone() is None


def test_every_doubling_of_a_canary_is_judged_by_its_own_weights(tiny: Target, tmp_path: Path) -> None:
    (tmp_path / "reference.py").write_text(
        "from pytest_vibeserve.widening import load_as_given\n\n\n"
        "def load(folder, dtype, attention):\n    return load_as_given(folder, dtype, attention, 0)\n"
    )
    shared = tiny.model_copy(update={"folder": tmp_path})
    # So much noise that the first copies do not stand out from it.
    calibration = Calibration(sigma=SO_NOISY, ratios={"a": 1.0, "b": 9.0}, allowed="a", nearest="b")
    auditor = Auditor(Reference(model_folder(tiny), shared), calibration, (), "quick")
    with perturbed(auditor, shared, random.Random(3)) as copy:
        assert copy.reference.folder.name != "model-0"
        stored = load_file(copy.reference.folder / "model.safetensors")
        computed = copy.reference.model("bfloat16", "sdpa").state_dict()
        assert all(torch.equal(computed[name], tensor) for name, tensor in stored.items())
    assert not copy.reference.folder.exists()
