"""Searches for a request that breaks a property of the interface; hypothesis draws, the server answers."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.conversation import Breached, Conversation
from pytest_vibeserve.judge.properties import PROPERTIES, Property
from pytest_vibeserve.judge.refusals import REFUSALS
from pytest_vibeserve.report import Check

EXAMPLES = {"quick": 2, "full": 12}
ERROR_EXAMPLES = {"quick": 4, "full": 16}
COSTLY = frozenset({"answer-length", "context-limit", "routes"})
LONG = frozenset({"n", "seed", "unicode"})
"""Properties whose examples take many tokens: a quick gate has one of each."""


def interface_checks(bench: Bench, auditor: Auditor, end_ids: frozenset[int]) -> Iterator[Check]:
    """One check for each property, named `interface.<property>`, then the audit of what was heard."""
    talk = Conversation(bench, auditor, end_ids)
    for name, wanted in {**PROPERTIES, **REFUSALS}.items():
        yield searched(talk, name, wanted)
    heard = auditor.gathered([answer for answer in talk.heard if answer.choices], noise=False)
    own = [item for item in heard if not item.choice.retokenised]
    if own:
        yield auditor.single(own, "interface")
    yield from auditor.reported(talk.scored, "interface")


def searched(talk: Conversation, name: str, wanted: Property) -> Check:
    """The check `interface.<name>`: as many examples of the property as the depth asks for, until one breaks it."""
    once = COSTLY | LONG if talk.bench.depth == "quick" else COSTLY
    count = 1 if name in once else (ERROR_EXAMPLES if name == "errors" else EXAMPLES)[talk.bench.depth]
    breach = _breach(talk, name, wanted, count)
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


def _breach(talk: Conversation, name: str, wanted: Property, count: int) -> Breached | None:
    """The first breach found, unshrunk: a served answer may differ the second time, and each costs the server time."""
    found: list[Breached] = []

    @seed(talk.bench.draws(f"interface/{name}").getrandbits(64))
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
        if found:
            raise found[0]
        talk.draw = data.draw
        try:
            wanted(talk)
        except Breached as breach:
            found.append(breach)
            raise

    try:
        search()
    except (Breached, Flaky):
        return found[0]
    return None
