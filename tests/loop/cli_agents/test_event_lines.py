from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibeserve_loop.cli_agents.event_lines import READERS, Heard
from vibeserve_loop.cli_agents.lenience import LARGEST, amount, number, rows, table, words

NAMES = (
    "type", "message", "content", "usage", "item", "error", "part", "tokens", "cache", "read", "state", "stats", "cost",
    "input_tokens", "output_tokens", "session_id", "total_cost_usd", "is_error", "result", "role", "delta", "text",
)  # fmt: skip
KINDS = (
    "assistant", "result", "tool_use", "text", "item.completed", "agent_message", "turn.completed", "turn.failed",
    "message", "step_finish", "error", "command_execution", "thread.started",
)  # fmt: skip
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(KINDS)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
EVENTS = st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=8)


@given(events=st.lists(EVENTS, max_size=5))
@pytest.mark.parametrize("name", READERS)
def test_whatever_a_program_tells_is_taken_in(name: str, events: list[dict[str, Any]]) -> None:
    heard = Heard()
    for event in events:
        READERS[name](event, heard)
    for told in (heard.text, heard.session, heard.failed):
        assert isinstance(told, str)
    assert heard.tokens.input >= 0
    assert heard.usd is None or 0 <= heard.usd < 2 * LARGEST * len(events)


def test_a_part_of_another_kind_counts_as_nothing() -> None:
    assert (table([1]), rows({"a": 1}), rows("ab")) == ({}, (), ())
    assert [amount(value) for value in (3, 2.9, -1, True, "7", None, float("nan"), 1e300)] == [3, 2, 0, 0, 0, 0, 0, 0]
    assert (number(0.5), words(None), words(3), words("x")) == (0.5, "", "3", "x")


def test_a_message_that_is_none_leaves_the_session_unfinished() -> None:
    heard = Heard()
    for event in ({"type": "assistant", "message": "nonsense"}, {"type": "assistant", "message": {"content": [7]}}):
        READERS["claude"](event, heard)
    READERS["codex"]({"type": "item.completed", "item": ["agent_message"]}, heard)
    assert (heard.whole, heard.text, heard.calls) == (False, "", 0)
