"""The benchmark: streams in real time (the headline), and whole clips in a closed loop."""

import pytest

from pytest_vibeserve.evaluator import Evaluator


@pytest.mark.parametrize("load", ["streams", "whole"])
def test_load(evaluator: Evaluator, load: str) -> None:
    """Fresh audio at this load; every transcript is audited like those of the accuracy contract."""
    evaluator.measure(load)
