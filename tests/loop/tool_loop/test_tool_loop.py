from __future__ import annotations

import pytest

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.desk.endings import AgentStopped
from vibeserve_loop.tool_loop.limits import SAME_CALLS, Account, Limits
from vibeserve_loop.tool_loop.prices import Price, Tokens, price_of
from vibeserve_loop.tool_loop.session import caps_of, limits_of
from vibeserve_loop.tool_loop.tools import shortened

PRICE = Price(input=1.0, output=10.0, cache_read=0.1, cache_write=1.25)


def test_cached_tokens_are_priced_apart() -> None:
    tokens = Tokens(input=1_000_000, output=100_000, cache_read=600_000, cache_write=200_000)
    assert PRICE.usd(tokens) == pytest.approx(0.2 + 0.06 + 0.25 + 1.0)


def test_the_longest_name_that_fits_gives_the_price() -> None:
    small, large = price_of("gpt-5-mini-2026-01-01"), price_of("openai/gpt-5-2025-08-07")
    assert small is not None
    assert large is not None
    assert small.input < large.input


def test_a_model_that_nobody_knows_has_no_price_but_may_be_given_one() -> None:
    assert price_of("my-own-model") is None
    assert price_of("my-own-model", "1.5:6") == Price(1.5, 6.0, 1.5, 1.5)
    with pytest.raises(UsageError, match="INPUT:OUTPUT"):
        price_of("my-own-model", "cheap")


@pytest.mark.parametrize(
    "words", [{"max_usd": "much"}, {"max_minutes": "-1"}, {"max_turns": "0"}, {"max_dollars": "1"}]
)
def test_options_that_are_wrong_are_named(words: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(words))):
        caps_of("gpt-5", words)


def test_the_caps_are_the_limits() -> None:
    found = limits_of(caps_of("gpt-5", {"max_usd": "2.5", "max_tokens": "1000", "max_minutes": "3", "max_turns": "9"}))
    assert found == Limits(minutes=3, turns=9, usd=2.5, tokens=1000)


def test_a_request_that_would_break_a_cap_is_not_made() -> None:
    account = Account(Limits(usd=0.01), PRICE)
    account.before_request(9_000)
    with pytest.raises(AgentStopped, match="would exceed") as caught:
        account.before_request(11_000)
    assert caught.value.ending == "budget"


def test_another_call_ends_the_row_of_equal_ones() -> None:
    account = Account(Limits(), None)
    for _ in range(3):
        for _ in range(SAME_CALLS - 1):
            account.called("run ls")
        account.called("run pwd")
    for _ in range(SAME_CALLS - 1):
        account.called("run ls")
    with pytest.raises(AgentStopped, match="same call"):
        account.called("run ls")


def test_a_long_text_keeps_its_head_and_its_tail() -> None:
    told = shortened("a" * 100 + "b" * 100, 20)
    assert told.startswith("aaaaaaaaaa\n")
    assert told.endswith("\nbbbbbbbbbb")
    assert "180 characters left out" in told
