"""Canary weights: a secret copy of the checkpoint that nobody can have prepared answers for."""

from __future__ import annotations

import random
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.evidence import logprobs_at
from pytest_vibeserve.reference import Context, Reference
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import REFERENCE
from pytest_vibeserve.weights import MANIFEST

REQUESTS = 48
FIRST_STRENGTH, DOUBLINGS = 0.05, 7
"""Share of a matrix's own norm that its secret term has at first, and how often that may be doubled."""

FAR = 50.0
"""How many times the honest squared noise the copy must lie from the original (mean squared logprob difference)."""

PROBES, PROBE_TOKENS = 4, 48
LAYER = re.compile(r"\.(\d+)\.")


@contextmanager
def perturbed(auditor: Auditor, target: Target, draws: random.Random) -> Iterator[Auditor]:
    """An auditor of a secret copy of the model, far enough from it to be told apart; the copy lives in the block.

    One matrix of every layer gets a rank-one term of random direction.  InfrastructureError when no strength of it
    shows in the logits.
    """
    with TemporaryDirectory(prefix="vibeserve-canary-") as place:
        seed = draws.getrandbits(63)
        for folder, strength in doubled(Path(place)):
            write_copy(auditor.reference.folder, folder, seed, strength)
            copy = Reference(folder, target)
            if _distance(auditor, copy, draws) >= FAR:
                Path(place).chmod(0o755)
                yield Auditor(copy, auditor.calibration, auditor.forbidden, auditor.depth)
                return
        raise InfrastructureError(f"{auditor.reference.folder}: perturbed weights do not show in the model's logits")


def doubled(place: Path) -> Iterator[tuple[Path, float]]:
    """Folders for copies of growing strength, each in a place of its own; the one before is removed."""
    for doubling in range(DOUBLINGS + 1):
        folder = place / f"model-{doubling}"
        yield folder, FIRST_STRENGTH * 2**doubling
        shutil.rmtree(folder, ignore_errors=True)


def write_copy(model: Path, into: Path, seed: int, strength: float) -> None:
    """The model's folder again, every file of weights changed by `seed`; readable by any user."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    for path in model.iterdir():
        if path.suffix == ".safetensors":
            _write_weights(path, into / path.name, seed, strength)
        elif path.is_file() and path.name != MANIFEST:
            shutil.copy(path, into / path.name)
    for path in into.iterdir():
        path.chmod(0o644)
    into.chmod(0o755)


def checks(canary: Auditor, original: Auditor, answers: Sequence[Answer]) -> list[Check]:
    """The audit of answers against the copy; a failure says so when they are the original's instead."""
    greedy = [answer for answer in answers if not answer.fault and not answer.request.temperature]
    found = canary.checks(canary.gathered(greedy), "canary")
    if not any(check.result == "fail" for check in found):
        return found
    stale = original.single(original.gathered(greedy, noise=False), "canary").result == "pass"
    words = "; the answers are those of the weights it was not given" if stale else ""
    return [c.model_copy(update={"detail": c.detail + words}) if c.result == "fail" else c for c in found]


def _distance(auditor: Auditor, copy: Reference, draws: random.Random) -> float:
    """Mean squared difference of the likeliest tokens' logprobs, in units of the honest squared noise."""
    size = auditor.reference.model("float32", "sdpa").config.vocab_size
    given = [tuple(draws.randrange(size) for _ in range(PROBE_TOKENS)) for _ in range(PROBES)]
    contexts = [Context(ids[: PROBE_TOKENS // 2], ids[PROBE_TOKENS // 2 :]) for ids in given]
    first, second = ({i: b for i, (b,) in r.walk(contexts, (REFERENCE,))} for r in (auditor.reference, copy))
    squares = []
    for index, logits in first.items():
        top = np.argsort(-logits, axis=1)[:, :5]
        squares.append(np.square(logprobs_at(logits, top) - logprobs_at(second[index], top)).mean())
    return float(np.mean(squares)) / auditor.calibration.sigma**2


def _write_weights(path: Path, into: Path, seed: int, strength: float) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
        for name in stored.keys():  # noqa: SIM118 (not a mapping)
            tensors[name] = stored.get_tensor(name)
    matrices: defaultdict[str, list[str]] = defaultdict(list)
    for name, tensor in sorted(tensors.items()):
        found = LAYER.search(name)
        if found and tensor.ndim == 2 and tensor.is_floating_point():
            matrices[name[: found.end()]].append(name)
    for layer, names in matrices.items():
        drawn = random.Random(f"{seed}/{layer}")
        name = drawn.choice(names)
        numbers = torch.Generator().manual_seed(drawn.getrandbits(63))
        weight = tensors[name].float()
        rows, columns = (torch.randn(size, generator=numbers) for size in weight.shape)
        term = torch.outer(rows / rows.norm(), columns / columns.norm()) * weight.norm() * strength
        tensors[name] = (weight + term).to(tensors[name].dtype)
    save_file(tensors, into, metadata)
