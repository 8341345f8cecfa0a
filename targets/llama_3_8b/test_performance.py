"""The benchmark: a sweep of concurrencies (64 streams are the headline), and arrivals that do not wait for anybody."""

import pytest

from pytest_vibeserve.evaluator import Evaluator


@pytest.mark.parametrize("load", ["c1", "c8", "peak", "poisson"])
def test_load(evaluator: Evaluator, load: str) -> None:
    """Fresh completions and chats at this load; every answer is audited like those of the accuracy contract."""
    evaluator.measure(load)
