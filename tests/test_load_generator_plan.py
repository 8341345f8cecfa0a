"""Plans: what cannot be sent says why, and the client stops when everything has had its time, not before."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_generator import Exchange, ShardedLoadGenerator
from pytest_vibeserve.load_generator.plan import closed, opened
from pytest_vibeserve.load_generator.shards import dealt


def turn(id: int, after: int | None = None, *, think_s: float = 0.0) -> Exchange:
    body = b"[]" if after is None else b'["@ids:%d"]' % after
    return Exchange(id, "POST", "/", body, at_s=0.0, timeout_s=20, after=after, think_s=think_s)


@pytest.mark.parametrize(
    ("exchanges", "message"),
    [
        ([turn(1, 0)], "exchange 1 comes after 0, which is not listed before it"),
        ([turn(0), turn(1, 0), turn(2, 0)], "two exchanges come after 0"),
        ([turn(0), turn(0), turn(1, 0)], "ids of their own"),
        ([turn(0), turn(1, 0, think_s=-1)], "think_s must be at least 0"),
        ([turn(0), turn(5), Exchange(1, "POST", "/", b'["@ids:5"]', after=0)], "quotes 5"),
    ],
)
def test_sessions_that_make_no_sense_say_why(exchanges: list[Exchange], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        closed(exchanges, 1)


def test_schedules_that_make_no_sense_say_why() -> None:
    with pytest.raises(UsageError, match="at_s must be at least 0"):
        opened([Exchange(0, "GET", "/", at_s=-1.0)])
    with pytest.raises(UsageError, match="at_s must be at least 0"):
        opened([Exchange(0, "GET", "/", at_s=inf)])
    with pytest.raises(UsageError, match="most_in_flight must be at least 0"):
        opened([], -1)
    with pytest.raises(UsageError, match="at least 1 process"):
        ShardedLoadGenerator("127.0.0.1", 1, processes=0)


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, nan])
def test_a_deadline_lies_after_the_start(deadline_s: float) -> None:
    with pytest.raises(UsageError, match="deadline_s must be above 0"):
        closed([turn(0)], 1, deadline_s)


def test_what_would_leave_after_the_deadline_is_refused_before_anything_is_sent() -> None:
    late = Exchange(7, "GET", "/", at_s=601.0)
    assert opened([late]).ends_s > 601 + late.timeout_s
    with pytest.raises(UsageError, match=r"exchange 7 is to leave 601 s from the start, .* stops after 600 s"):
        opened([late], deadline_s=600.0)


def served(timeouts: list[list[float]], slots: int) -> float:
    """When the last of these sessions ends that are taken by the first free slot, each turn lasting its timeout."""
    free = [0.0] * slots
    for session in timeouts:
        first = free.index(min(free))
        free[first] += sum(session)
    return max(free)


sessions = st.lists(st.lists(st.floats(0.1, 90), min_size=1, max_size=4), min_size=1, max_size=30)


@given(sessions, st.integers(1, 5), st.integers(1, 4))
def test_a_server_that_answers_nothing_gets_every_timeout_before_the_client_stops(
    timeouts: list[list[float]], slots: int, processes: int
) -> None:
    exchanges: list[Exchange] = []
    for session in timeouts:
        for number, timeout_s in enumerate(session):
            after = len(exchanges) - 1 if number else None
            exchanges.append(Exchange(len(exchanges), "GET", "/", timeout_s=timeout_s, at_s=3.0, after=after))
    assert closed(exchanges, slots).ends_s >= served(timeouts, slots)
    assert opened(exchanges, slots).ends_s >= 3.0 + served(timeouts, slots)
    assert opened(exchanges).ends_s >= 3.0 + max(map(sum, timeouts))
    for share in dealt(closed(exchanges, max(slots, processes)), processes):
        own = [exchange.timeout_s for exchange in share.plan.exchanges]
        assert share.plan.ends_s >= sum(own) / share.plan.concurrency


def test_pauses_between_turns_are_part_of_the_plan() -> None:
    assert closed([turn(0), turn(1, 0, think_s=500)], 1).ends_s >= 540
    assert closed([turn(0)], 1, deadline_s=5).ends_s == 5
