from __future__ import annotations

from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.desk.endings import AgentStopped
from vibeserve_loop.roles import Left
from vibeserve_loop.tool_loop.limits import Account, Limits, within
from vibeserve_loop.tool_loop.meter import metered
from vibeserve_loop.tool_loop.prices import Price, Tokens, price_of, unpriced


def test_a_session_may_use_up_no_more_than_the_run_has_left() -> None:
    limits = Limits(minutes=20, usd=5, tokens=1000)
    found = within(limits, Left(seconds=600, usd=1.5, tokens=400))
    assert (found.usd, found.tokens, found.minutes) == (1.5, 400, 10)
    assert within(limits, Left(seconds=6000, usd=15, tokens=4000)) == limits
    assert within(Limits(), Left()) == Limits()
    found = within(Limits(), Left(seconds=0, usd=0, tokens=0))
    assert (found.usd, found.tokens, found.minutes) == (0, 0, 0)


def test_within_a_run_an_account_ends_a_session_at_what_is_left(tmp_path: Path) -> None:
    price = Price(1_000_000, 0, 0, 0)
    with metered(tmp_path, left=Left(usd=3)):
        account = Account(Limits(), price)
        account.charge(Tokens(input=2))
        with pytest.raises(AgentStopped, match="is spent of"):
            account.charge(Tokens(input=2))
    with metered(tmp_path, left=Left(usd=9)) as meter:
        assert meter.left.usd == 5
    Account(Limits(), price).charge(Tokens(input=100))


def test_a_model_that_nobody_knows_has_no_price_unless_one_is_given() -> None:
    assert unpriced("claude-opus-5") == ""
    assert unpriced("mine", "0:0") == ""
    assert "no price is known for mine: add price=INPUT:OUTPUT" in unpriced("mine")
    assert "the program's own model" in unpriced("")


@pytest.mark.parametrize("given", ["nan:nan", "-1:-1", "1:inf", "1e99:1", "1:2:3", "much:more"])
def test_a_price_that_no_limit_could_be_kept_with_is_none(given: str) -> None:
    with pytest.raises(UsageError, match="is not INPUT:OUTPUT"):
        price_of("mine", given)
