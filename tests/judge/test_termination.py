"""An answer ends where it had to, for the reason that it states."""

from __future__ import annotations

import pytest

from pytest_vibeserve.completions import Choice
from pytest_vibeserve.judge.termination import cut, ended_rightly
from pytest_vibeserve.workload import Request, Vocabulary

END_IDS = frozenset({1})


@pytest.mark.parametrize(
    ("ids", "reason", "ignore_eos", "broken"),
    [
        ((5, 6, 7), "length", True, []),
        ((5, 6), "length", True, ["max-tokens"]),
        ((5, 6, 7, 8), "length", True, ["max-tokens"]),
        ((5, 6, 7), "stop", True, ["finish-reason"]),
        ((5, 6, 7), "eos", True, ["finish-reason"]),
        ((5, 1), "stop", False, []),
        ((5, 1), "length", False, ["finish-reason"]),
        ((5, 1, 1), "stop", False, ["end-token"]),
        ((5, 1, 7), "length", True, []),
        ((5, 6), "stop", False, ["max-tokens", "finish-reason"]),
    ],
)
def test_every_wrong_ending_has_a_name(
    vocabulary: Vocabulary, ids: tuple[int, ...], reason: str, ignore_eos: bool, broken: list[str]
) -> None:
    request = Request(0, (0, 9), 3, ignore_eos=ignore_eos)
    found = ended_rightly(request, Choice(0, ids, vocabulary.decode(ids), reason), vocabulary, END_IDS)
    assert [breach.name for breach in found] == broken


def test_a_stop_string_ends_an_answer_early(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("import os")[1:]
    request = Request(0, (0, 9), len(ids) + 4, stop=(" os",))
    assert list(ended_rightly(request, Choice(0, ids, "import", "stop"), vocabulary, END_IDS)) == []


def test_text_is_cut_at_the_first_of_several_stop_strings() -> None:
    assert cut("one two three", ("three", "two")) == ("one ", True)
    assert cut("one two three", ("four",)) == ("one two three", False)
