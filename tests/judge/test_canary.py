"""A server must follow the weights it is given, whatever it knew of them before."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from engine import Bound
from safetensors.torch import load_file

from pytest_vibeserve.errors import ContractBroken
from pytest_vibeserve.judge import canary
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.target import Target

Bind = Callable[[int], Bound]


def test_a_server_that_follows_its_weights_is_accepted(bound: Bind) -> None:
    server = bound(40)
    server.engine.depth = "full"
    server.judge.canary()
    assert {"canary.request", "canary.margin", "canary.logprobs"} <= {check.name for check in server.engine.checks}
    assert server.failed() == set()


def test_a_server_that_answers_from_weights_known_beforehand_is_refused(bound: Bind) -> None:
    server = bound(41)
    server.engine.depth = "full"
    server.engine.faults.follows = False
    with pytest.raises(ContractBroken, match=r"canary\.request.*of the weights it was not given"):
        server.judge.canary()


def test_a_server_that_keeps_the_words_it_knew_is_refused(bound: Bind) -> None:
    server = bound(43)
    server.engine.depth = "full"
    server.engine.faults.keeps_words = True
    with pytest.raises(ContractBroken, match=r"canary\.(text|prompt-ids)"):
        server.judge.canary()


def test_a_quick_gate_says_that_it_left_the_canary_out(bound: Bind) -> None:
    server = bound(42)
    server.judge.canary()
    assert [(check.name, check.result) for check in server.engine.checks] == [("canary.weights", "skip")]


def test_the_copy_lies_far_from_the_model_and_is_gone_afterwards(auditor: Auditor, target: Target) -> None:
    with canary.perturbed(auditor, target, random.Random(1)) as copy:
        folder = copy.reference.folder
        assert copy.reference.digest != auditor.reference.digest
        assert canary._distance(auditor, copy.reference, random.Random(2)) > canary.FAR / 2
    assert not folder.exists()


def test_one_matrix_of_each_layer_differs_by_a_term_of_rank_one(auditor: Auditor, tmp_path: Path) -> None:
    canary.write_copy(auditor.reference.folder, tmp_path / "copy", seed=3, strength=4.0)
    before: dict[str, np.ndarray] = {}
    after: dict[str, np.ndarray] = {}
    for path in sorted(auditor.reference.folder.glob("*.safetensors")):
        before |= _floats(path)
        after |= _floats(tmp_path / "copy" / path.name)
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert len(changed) == auditor.reference.layers
    for name in changed:
        strengths = np.linalg.svd(after[name] - before[name], compute_uv=False)
        assert strengths[0] > 20 * strengths[1]


def _floats(path: Path) -> dict[str, np.ndarray]:
    return {name: tensor.to(torch.float32).numpy() for name, tensor in load_file(path).items()}
