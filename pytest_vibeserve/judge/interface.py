"""Searches for a request that breaks a property of the interface; hypothesis draws, the server answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.conversation import Breached, Conversation
from pytest_vibeserve.judge.properties import PROPERTIES, Property
from pytest_vibeserve.judge.refusals import REFUSALS
from pytest_vibeserve.report import Check

EXAMPLES = {"quick": 2, "full": 12}
ERROR_EXAMPLES = {"quick": 4, "full": 16}
COSTLY = frozenset({"answer-length", "context-limit", "routes"})
LONG = frozenset({"n", "seed", "unicode"})
"""Properties whose examples take many tokens: a quick gate has one of each."""


Way = tuple[Conversation, Property]
"""One route of the server, and what a property means on it."""


def ways_of(talk: Conversation) -> dict[str, tuple[Way, ...]]:
    """All properties of completions, by name, each on that one route."""
    return {name: ((talk, wanted),) for name, wanted in {**PROPERTIES, **REFUSALS}.items()}


def interface_checks(ways: Mapping[str, Sequence[Way]], auditor: Auditor) -> Iterator[Check]:
    """One check for each property, named `interface.<property>`, then the audit of what was heard."""
    for name, several in ways.items():
        yield searched(name, several)
    talks = list(dict.fromkeys(talk for several in ways.values() for talk, _ in several))
    heard = auditor.gathered([answer for talk in talks for answer in talk.heard if answer.choices], noise=False)
    if heard:
        yield auditor.single(heard, "interface")
    yield from auditor.reported([answer for talk in talks for answer in talk.scored], "interface")


def searched(name: str, ways: Sequence[Way]) -> Check:
    """The check `interface.<name>`: as many examples of the property as the depth asks for, until one breaks it.

    Where a property holds on several routes, the examples take turns, and there is one on each at least.
    """
    talk, wanted = ways[0]
    once = COSTLY | LONG if talk.bench.depth == "quick" else COSTLY
    count = 1 if name in once else (ERROR_EXAMPLES if name == "errors" else EXAMPLES)[talk.bench.depth]
    count = max(count, len(ways)) * (len(ways) if name == "errors" else 1)
    breach = _breach(name, ways, count)
    said = (wanted.__doc__ or name).split("\n")[0]
    return Check(
        name=f"interface.{name}",
        result="fail" if breach else "pass",
        statistic=1 if breach else 0,
        threshold=0,
        unit="breaches",
        detail=breach.message if breach else f"{said} ({count} examples)",
        example=breach.example if breach else "",
    )


def _breach(name: str, ways: Sequence[Way], count: int) -> Breached | None:
    """The first breach found, unshrunk: a served answer may differ the second time, and each costs the server time.

    What is drawn may hang on an answer, and then hypothesis gives up where one differs; another search goes on there.
    """
    draws = ways[0][0].bench.draws(f"interface/{name}")
    turns, found = cycle(draws.sample(list(ways), len(ways))), list[Breached]()
    while count > 0 and not found:
        count -= _examples(turns, found, draws.getrandbits(64), count, len(ways) > 1)
    return found[0] if found else None


def _examples(turns: Iterator[Way], found: list[Breached], start: int, count: int, is_named: bool) -> int:
    """Try up to `count` examples, and keep the first breach in `found`; how many there were, one at least."""
    tried = 0

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=tuple(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(st.data())
    def search(data: st.DataObject) -> None:
        nonlocal tried
        if found:
            raise found[0]
        tried += 1
        talk, wanted = next(turns)
        talk.draw = data.draw
        try:
            wanted(talk)
        except Breached as breach:
            named = f"{talk.route}: {breach.message}" if is_named else breach.message
            found.append(Breached(named, breach.example))
            raise found[0] from None

    with contextlib.suppress(Breached, Flaky):
        search()
        return count
    return max(1, tried)
