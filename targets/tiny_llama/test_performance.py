"""The benchmark: one stream, sixteen streams (the headline), and arrivals that do not wait for anybody."""

import pytest

from pytest_vibeserve.evaluator import Evaluator


@pytest.mark.parametrize("load", ["c1", "c16", "poisson"])
def test_load(evaluator: Evaluator, load: str) -> None:
    """Fresh requests at this load; every answer is audited like those of the accuracy contract."""
    evaluator.measure(load)
