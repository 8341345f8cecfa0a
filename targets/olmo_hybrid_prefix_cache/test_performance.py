"""The benchmark: one stream, and twenty that share the beginning of their prompts (the headline)."""

import pytest

from pytest_vibeserve.evaluator import Evaluator


@pytest.mark.parametrize("load", ["c1", "c20"])
def test_load(evaluator: Evaluator, load: str) -> None:
    """Requests with one fresh beginning; every answer is audited like those of the accuracy contract."""
    evaluator.measure(load)
