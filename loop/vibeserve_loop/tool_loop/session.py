"""From an agent's options, all of them words, to a session of the tool loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import nearest
from vibeserve_loop.broker.link import find_link
from vibeserve_loop.desk.endings import Session
from vibeserve_loop.desk.equipment import equipped, instructions
from vibeserve_loop.options import number
from vibeserve_loop.roles import Brief, Desk
from vibeserve_loop.tool_loop.limits import Account, Limits
from vibeserve_loop.tool_loop.prices import Price, price_of
from vibeserve_loop.tool_loop.tools import Tools

if TYPE_CHECKING:
    from pydantic_ai.models import Model

EXTRA = 'its library is missing: pip install "pytest-vibeserve[agents]"'


@dataclass(frozen=True, slots=True)
class Caps:
    """The options that every agent with a model shares, as words; empty is the default."""

    max_usd: str = ""
    max_tokens: str = ""
    max_minutes: str = ""
    max_turns: str = ""
    context: str = ""
    price: str = ""


def caps_of(model: str, words: Mapping[str, str]) -> Caps:
    """The options by their names, checked; UsageError names the one that is unknown or wrong."""
    known = [field.name for field in fields(Caps)]
    for name in words:
        if name not in known:
            raise UsageError(f"no option is called {name!r}; {nearest(name, known)}")
    caps = Caps(**words)
    limits_of(caps)
    price_for(model, caps)
    return caps


def limits_of(caps: Caps) -> Limits:
    """The limits that the words stand for; UsageError names the one that is no number."""
    usual = Limits()
    tokens = number("max_tokens", caps.max_tokens, None)
    return Limits(
        minutes=number("max_minutes", caps.max_minutes, None) or usual.minutes,
        turns=int(number("max_turns", caps.max_turns, None) or usual.turns),
        usd=number("max_usd", caps.max_usd, None),
        tokens=int(tokens) if tokens else None,
        context=int(number("context", caps.context, None) or usual.context),
    )


def price_for(model: str, caps: Caps) -> Price | None:
    """The model's price; UsageError when a cap in dollars is asked for and nobody knows the price."""
    found = price_of(model, caps.price)
    if found is None and caps.max_usd:
        why = f"no price is known for {model}, so max_usd cannot be kept"
        raise UsageError(f"{why}: add price=INPUT:OUTPUT, in dollars a million tokens (0:0 for a model of your own)")
    return found


def session(make: Callable[[], Model], name: str, caps: Caps, brief: Brief, desk: Desk) -> Session:
    """One session of the named model at the desk, its skills beside it."""
    try:
        from vibeserve_loop.tool_loop.loop import Work, worked

        model = make()
    except ImportError as error:
        raise UsageError(f"agent {name}: {EXTRA} ({error})") from None
    account = Account(limits_of(caps), price_for(name, caps))
    tools = Tools(desk, find_link(desk.folder), account.left_s)
    with equipped(desk.folder, brief.target) as skills:
        desk.log(f"model {name}; skills: {', '.join(skills) or 'none'}")
        return worked(Work(model, tools, instructions(), account), brief, desk)
