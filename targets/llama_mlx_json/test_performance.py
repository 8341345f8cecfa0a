"""The benchmark: one chat after the other (the headline), and four clients at once."""

import pytest

from pytest_vibeserve.evaluator import Evaluator


@pytest.mark.parametrize("load", ["c1", "c4"])
def test_load(evaluator: Evaluator, load: str) -> None:
    """Fresh chats at this load; every answer is audited like those of the accuracy contract."""
    evaluator.measure(load)
