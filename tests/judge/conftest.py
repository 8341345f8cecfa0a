"""A small target of real weights, its reference, and a server in the test's own process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine import Bound, Engine

from pytest_vibeserve.judge import Judge
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.reference import Reference, model_folder
from pytest_vibeserve.target import Mix, Target
from pytest_vibeserve.workload import Vocabulary

MIX = (Mix(name="short", weight=1, prompt_tokens=(8, 24), output_tokens=(20, 24)),)


@pytest.fixture(scope="session")
def target(tiny: Target) -> Target:
    """The smallest target with a short workload."""
    limits = tiny.limits.model_copy(update={"context": 128})
    return tiny.model_copy(update={"mix": MIX, "limits": limits})


@pytest.fixture(scope="session")
def reference(target: Target) -> Reference:
    return Reference(model_folder(target), target)


@pytest.fixture(scope="session")
def auditor(reference: Reference, vocabulary: Vocabulary, target: Target) -> Auditor:
    return Auditor.of(reference, vocabulary, target, "quick")


@pytest.fixture
def bound(target: Target, reference: Reference, vocabulary: Vocabulary) -> Callable[[int], Bound]:
    """An honest engine with its Judge, from a seed."""

    def bind(seed: int) -> Bound:
        engine = Engine(target, reference, vocabulary, seed)
        return Bound(engine, Judge(engine, reference.folder))

    return bind
