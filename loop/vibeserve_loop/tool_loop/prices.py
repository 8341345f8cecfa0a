"""What tokens cost, from a dated table that needs no network; a price that nobody knows is never taken for nothing."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pytest_vibeserve.errors import UsageError

MILLION = 1_000_000
DEAREST = 1e9


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one or more requests; `input` holds the cached ones too, as providers are read here."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def usd(self, tokens: Tokens) -> float:
        """What these tokens cost."""
        plain = max(0, tokens.input - tokens.cache_read - tokens.cache_write)
        cached = tokens.cache_read * self.cache_read + tokens.cache_write * self.cache_write
        return (plain * self.input + cached + tokens.output * self.output) / MILLION


def price_of(model: str, given: str = "") -> Price | None:
    """The price of a model: `given` as INPUT:OUTPUT in dollars a million tokens, else the table's; None if unknown."""
    if given:
        return _given(given)
    name = model.rpartition("/")[2]
    fitting = [start for start in _table() if name.startswith(start)]
    return _table()[max(fitting, key=len)] if fitting else None


def unpriced(model: str, given: str = "") -> str:
    """Why nobody would know what a session costs in dollars, with what to do; empty where it is known."""
    if price_of(model, given) is not None:
        return ""
    name = model or "the program's own model"
    return f"no price is known for {name}: add price=INPUT:OUTPUT, in dollars a million tokens"


def _given(words: str) -> Price:
    try:
        dollars_in, dollars_out = (float(word) for word in words.split(":"))
    except ValueError:
        dollars_in = dollars_out = math.nan
    if not (0 <= dollars_in <= DEAREST and 0 <= dollars_out <= DEAREST):
        raise UsageError(f"price={words} is not INPUT:OUTPUT, dollars a million tokens, as in 1.25:10")
    return Price(dollars_in, dollars_out, dollars_in, dollars_in)


@cache
def _table() -> dict[str, Price]:
    text = (files("vibeserve_loop.tool_loop") / "prices.toml").read_text(encoding="utf-8")
    return {name: Price(**row) for name, row in tomllib.loads(text).items() if isinstance(row, dict)}
