"""A judgement ends as its checks say, and looks again while something is open."""

from __future__ import annotations

from typing import cast

import pytest

from pytest_vibeserve.errors import ContractBroken, Inconclusive
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.modalities.conclusion import DOUBLINGS, conclude, counted, decided, passed_over
from pytest_vibeserve.report import Check, Result


class Book:
    """Where checks go."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def record(self, record: Check) -> None:
        self.checks.append(record)


@pytest.fixture
def book() -> Book:
    return Book()


def check(result: Result) -> Check:
    return Check(name="a.property", result=result, detail="as found")


def test_what_failed_is_raised_after_everything_was_recorded(book: Book) -> None:
    with pytest.raises(ContractBroken, match=r"a\.property: as found"):
        conclude(cast(Bench, book), [check("inconclusive"), check("fail"), check("pass")])
    assert len(book.checks) == 3


def test_what_is_open_is_looked_at_again_and_settled(book: Book) -> None:
    results: list[Result] = ["inconclusive", "inconclusive", "pass"]
    decided(cast(Bench, book), lambda number: [check(results[number])])
    assert [one.result for one in book.checks] == ["pass"]


def test_what_stays_open_is_inconclusive_and_a_failure_ends_at_once(book: Book) -> None:
    seen: list[int] = []

    def stage(number: int) -> list[Check]:
        seen.append(number)
        return [check("inconclusive")]

    with pytest.raises(Inconclusive):
        decided(cast(Bench, book), stage)
    assert seen == list(range(DOUBLINGS + 1))
    with pytest.raises(ContractBroken):
        decided(cast(Bench, book), lambda number: [check("fail")] if number == 0 else [])


def test_breaches_are_counted_and_what_says_nothing_is_passed_over(book: Book) -> None:
    assert counted("x", ["first", "second"], 5, "things").model_dump(include={"result", "statistic", "detail"}) == {
        "result": "fail", "statistic": 2.0, "detail": "first",
    }  # fmt: skip
    assert counted("x", [], 5, "things").detail == "5 things"
    passed_over(cast(Bench, book), "y", "there is none")
    assert book.checks[0].result == "skip"
