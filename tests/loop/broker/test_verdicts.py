from __future__ import annotations

from pathlib import Path

import pytest
from round_lab import assessed, compared

from vibeserve_loop.broker.verdicts import Key, Verdicts, environment_of
from vibeserve_loop.records import Assessment

KEY = Key(tree="t", rival="r", suite="s", environment="e", depth="quick")


@pytest.mark.parametrize("outcome", ["accepted", "rejected"])
def test_what_says_something_about_the_code_is_kept(outcome: str, tmp_path: Path) -> None:
    found = assessed(1.5).model_copy(update={"outcome": outcome})
    assert Verdicts(tmp_path).put(KEY, found)
    assert Verdicts(tmp_path).get(KEY) == found


@pytest.mark.parametrize("outcome", ["infrastructure", "inconclusive", "nothing"])
def test_what_may_be_otherwise_next_time_is_not_kept(outcome: str, tmp_path: Path) -> None:
    assert not Verdicts(tmp_path).put(KEY, Assessment(outcome=outcome, reason="r"))
    assert Verdicts(tmp_path).get(KEY) is None


def test_an_acceptance_whose_comparison_the_machine_spoiled_is_not_kept(tmp_path: Path) -> None:
    found = assessed(1.5)
    dropped = compared(1.0).model_copy(update={"pairs": 0, "dropped": 4})
    for spoiled in (None, dropped):
        assert not Verdicts(tmp_path).put(KEY, found.model_copy(update={"comparison": spoiled}))
    assert Verdicts(tmp_path).put(KEY, found)
    alone = KEY.model_copy(update={"rival": ""})
    assert Verdicts(tmp_path).put(alone, found.model_copy(update={"comparison": None}))


@pytest.mark.parametrize("part", ["tree", "rival", "suite", "environment", "seeds", "device"])
def test_a_verdict_holds_only_for_all_that_it_depends_on(part: str, tmp_path: Path) -> None:
    Verdicts(tmp_path).put(KEY, assessed(1.5))
    assert Verdicts(tmp_path).get(KEY.model_copy(update={part: "other"})) is None
    assert Verdicts(tmp_path).get(KEY.model_copy(update={"depth": "full"})) is None


def test_a_torn_verdict_is_no_verdict(tmp_path: Path) -> None:
    Verdicts(tmp_path).put(KEY, assessed(1.5))
    file = next(tmp_path.rglob("*.json"))
    file.write_text(file.read_text()[:20])
    assert Verdicts(tmp_path).get(KEY) is None


def test_another_gate_is_another_environment() -> None:
    assert environment_of(("other",)) != environment_of()
