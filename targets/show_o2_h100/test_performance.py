"""The benchmark: one image after the other (the headline), and four clients at once."""

import pytest

from pytest_vibeserve.evaluator import Evaluator


@pytest.mark.parametrize("load", ["c1", "c4"])
def test_load(evaluator: Evaluator, load: str) -> None:
    """Fresh words and noise at this load; images are audited like those of the accuracy contract."""
    evaluator.measure(load)
