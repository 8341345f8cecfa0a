"""The benchmark: one client, who says what it expects."""

from pytest_vibeserve.evaluator import Evaluator


def test_one_client(evaluator: Evaluator) -> None:
    """Fresh edits one after the other; every answer is audited like those of the accuracy contract."""
    evaluator.measure("c1")
