"""Spans and their unions."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.profiling.spans import Span, clipped, covered, length, overlap

TIMES = st.integers(0, 60)
SPANS = st.lists(st.tuples(TIMES, TIMES).map(lambda two: Span(min(two), max(two), "x")), max_size=12)


def seconds(spans: list[Span]) -> set[int]:
    return {at for span in spans for at in range(int(span.start), int(span.end))}


@given(SPANS)
def test_a_union_is_as_long_as_what_its_spans_cover(spans: list[Span]) -> None:
    union = covered(spans)
    assert length(union) == len(seconds(spans))
    assert all(before[1] < after[0] for before, after in pairwise(union))


@given(SPANS, SPANS)
def test_two_unions_share_what_both_cover(ones: list[Span], others: list[Span]) -> None:
    assert overlap(covered(ones), covered(others)) == len(seconds(ones) & seconds(others))


def test_a_span_counts_where_most_of_it_lies() -> None:
    spans = [Span(0, 4, "before"), Span(4, 9, "mostly within"), Span(9, 20, "after")]
    assert [span.name for span in clipped(spans, (5, 10))] == ["mostly within"]
