from __future__ import annotations

import os

import pytest
from loop_lab import Lab

from pytest_vibeserve.source_tree import tree_digest
from vibeserve_loop import resolve

PRYING = """
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Job

class PryingAgent:
    # Looks for the target's copy from where its commands run.
    def work(self, brief, desk):
        run = desk.folder.parent
        look = f"ls {run} {run}/reference; cat {run}/reference/OBJECTIVE.md {run}/run.json; ls {run}/workspace"
        done = desk.sandbox.run(Job(("sh", "-c", look), desk.folder, timeout_s=20.0))
        return AgentResult(summary=f"saw {done.output}")
"""


def test_the_target_is_kept_with_the_run_and_no_agent_sees_it(lab: Lab) -> None:
    if obstacle := resolve.obstacle("bubblewrap"):
        pytest.skip(obstacle)
    (lab.folder / "prying.py").write_text(PRYING)
    words = ("run", "lab", *lab.gate, "--sandbox", "bubblewrap", "--agent", "prying:PryingAgent", "--max-rounds", "1")
    done = lab.call(*words)
    assert tree_digest(lab.latest / "reference") == tree_digest(lab.target), done.stderr
    summary = lab.rounds()[1]["work"]["summary"]
    assert "server.py" in summary
    assert not {"reference", "OBJECTIVE.md", "Serve the lab's model", "schema"} & set(summary.split()), summary
    assert "Serve the lab" not in summary
    assert '"id"' not in summary


def test_a_target_that_cannot_be_kept_as_it_is_makes_no_run(lab: Lab) -> None:
    os.mkfifo(lab.target / "pipe")
    done = lab.run()
    assert done.returncode == 4
    assert "is not what was copied from it" in done.stderr
    assert not list((lab.folder / "runs").iterdir())
