from __future__ import annotations

from pathlib import Path

import pytest
from agent_cases import FASTER, Case, played

pytest.importorskip("deepagents", reason="the extra `deepagents` is not installed")
pytest.importorskip("langchain_openai", reason="the extra `deepagents` is not installed")
pytestmark = pytest.mark.slow

OPTIONS = {"model": "openai:lab-model", "base_url": "{url}/v1"}
KEYS = {"OPENAI_API_KEY": "sk-never-to-be-seen"}
EDITS = [{"call": "workspace_run", "with": {"command": FASTER}}, {"say": "I made it faster."}]


def test_deep_agents_edit_through_the_loops_tools(tmp_path: Path) -> None:
    done = played(Case("deepagents", EDITS, OPTIONS, KEYS), tmp_path)
    assert done.result.get("ending") == "finished", done.result
    assert done.result["speed"] == "250\n"
    assert done.result["summary"] == "I made it faster."
    assert done.result["spend"]["tokens_in"] == 2000


@pytest.mark.parametrize(
    ("script", "options", "ending"),
    [
        ([{"fault": "hang"}], {"max_minutes": "0.1"}, {"hung"}),
        ([EDITS[0]], {}, {"looped"}),
        ([EDITS[0], *EDITS], {"max_tokens": "1500"}, {"budget"}),
        ([{"fault": "429"}], {"max_minutes": "0.3"}, {"rate-limited", "hung"}),
        ([{"fault": "garbage"}], {"max_minutes": "0.2"}, {"garbage", "died", "hung"}),
    ],
)
def test_a_session_that_goes_wrong_costs_the_round(
    script: list[dict], options: dict[str, str], ending: set[str], tmp_path: Path
) -> None:
    done = played(Case("deepagents", script, {**OPTIONS, **options}, KEYS), tmp_path)
    assert done.result.get("ending") in ending, done.result
    assert (done.result["speed"], done.result["changes"]) == ("100", "")
