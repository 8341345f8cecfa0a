"""A program over the Agent Client Protocol, played by an agent of our own: each way that a session can go."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from agent_cases import Case, Outcome, played

from vibeserve_loop.desk.secrecy import LONGEST_FILE

pytest.importorskip("acp", reason="the extra `acp` is not installed")

AGENT = Path(__file__).parents[1] / "acp_agent.py"


KEY = "lab-key-never-to-be-seen"


def spoken(way: str, folder: Path, *, attempts: int = 1, sandbox: str = "none", **options: str) -> Outcome:
    given = {"command": f"{sys.executable} {AGENT} {way}", "keys": "LAB_API_KEY", **options}
    return played(Case("acp", [], given, {"LAB_API_KEY": KEY}, sandbox, attempts=attempts), folder, 60)


def _is_undone(done: Outcome) -> bool:
    return (done.result["speed"], done.result["changes"]) == ("100", "")


def test_a_program_that_tells_of_no_call_and_no_token_has_worked_when_it_left_an_edit(tmp_path: Path) -> None:
    done = spoken("minimal", tmp_path)
    assert done.result["ending"] == "finished", done.result
    assert (done.result["speed"], done.result["summary"]) == ("250\n", "I made it faster.")


def test_a_program_that_tells_of_its_calls_may_leave_everything_as_it_is(tmp_path: Path) -> None:
    done = spoken("reads", tmp_path)
    assert (done.result["ending"], done.result["calls"]) == ("finished", 1), done.result


def test_a_cost_that_is_no_number_counts_for_nothing_and_half_a_character_is_marked(tmp_path: Path) -> None:
    done = spoken("counts_wildly", tmp_path)
    assert done.result["ending"] == "finished", done.result
    assert (done.result["summary"], done.result["spend"]["usd"]) == ("faster ?", 0.0)


ENDINGS = [
    pytest.param("is_limited", "rate-limited", "429 Too many requests"),
    pytest.param("dies", "died", "it ended with 7: out of ideas"),
    pytest.param("answers_nonsense", "garbage", "does not keep to the protocol"),
    pytest.param("changes_nothing", "died", "changed nothing: There is nothing to do.", marks=pytest.mark.slow),
    pytest.param("says_nothing", "died", "without a word", marks=pytest.mark.slow),
    pytest.param("stops_early", "looped", "max_turn_requests", marks=pytest.mark.slow),
    pytest.param("floods", "flooded", "400000 characters", marks=pytest.mark.slow),
    pytest.param("writes_garbage", "garbage", "neither JSON nor sense", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("way", "ending", "said"), ENDINGS)
def test_what_is_no_end_of_the_work_costs_the_session(way: str, ending: str, said: str, tmp_path: Path) -> None:
    done = spoken(way, tmp_path, max_minutes="1")
    assert done.result["ending"] == ending, done.result
    assert said in done.result["failed"]
    assert _is_undone(done)


@pytest.mark.parametrize("way", ["hangs", pytest.param("does_not_begin", marks=pytest.mark.slow)])
def test_a_program_that_does_not_end_is_stopped(way: str, tmp_path: Path) -> None:
    done = spoken(way, tmp_path, max_minutes="0.1")
    assert done.result["ending"] == "hung", done.result
    assert "0.1 minutes" in done.result["failed"]
    assert _is_undone(done)


@pytest.mark.parametrize(("way", "calls"), [("repeats", 3), ("resumes", 0)])
def test_the_history_of_a_session_that_is_taken_up_counts_for_nothing(way: str, calls: int, tmp_path: Path) -> None:
    done = spoken(way, tmp_path, attempts=2, max_tokens="5000")
    assert done.result["ending"] == "finished", done.result
    assert "session one is taken up again" in done.result["log"]
    assert (done.result["calls"], done.result["speed"]) == (calls, "251\n")


def _holding_the_key(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "case.json"]
    return [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_key_that_a_program_shouts_is_in_no_file_and_no_reason(tmp_path: Path) -> None:
    done = spoken("shouts_its_key", tmp_path)
    assert "Authorization: Bearer *** is not known" in done.result["failed"]
    assert "***" in (tmp_path / "run" / "homes" / "acp.errors.log").read_text()
    assert _holding_the_key(tmp_path) == []
    assert KEY not in str(done.result)


def test_of_what_a_program_shouts_without_end_the_last_is_kept(tmp_path: Path) -> None:
    done = spoken("shouts_without_end", tmp_path)
    assert "enough" in done.result["failed"]
    log = (tmp_path / "run" / "homes" / "acp.errors.log").read_bytes()
    assert len(log) <= LONGEST_FILE
    assert b"and the last" in log[-10_000:]
    assert _holding_the_key(tmp_path) == []


def test_a_session_that_writes_a_key_down_is_refused_as_a_whole(tmp_path: Path) -> None:
    done = spoken("writes_its_key", tmp_path)
    assert "wrote a key from the environment into speed" in done.result["failed"]
    assert _is_undone(done)
    assert KEY not in str(done.result)
