from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from loop_lab import TARGET, Lab

from vibeserve_loop.desk.rations import Rationed, cores_of, kind_of
from vibeserve_loop.roles import Job
from vibeserve_loop.sandboxes.none import NoneSandbox

LOOKING = '''
import sys
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Job

LOOK = """
import json, os, resource
print(json.dumps([sorted(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_DATA)[0]]))
"""

class LookingAgent:
    """Writes down what its commands may take."""

    def work(self, brief, desk):
        desk.log(desk.sandbox.run(Job((sys.executable, "-c", LOOK), desk.folder)).output.strip())
        return AgentResult(summary="looked", exhausted=True)
'''


def test_what_a_job_asks_for_itself_holds(tmp_path: Path) -> None:
    bounded = Rationed(NoneSandbox(), memory_gib=2.0)
    words = "import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0])"
    job = Job((sys.executable, "-c", words), tmp_path)
    assert int(bounded.run(job).output) == 2 * 2**30
    assert int(bounded.run(Job(job.command, tmp_path, memory_gib=1.0)).output) == 2**30
    assert (kind_of(bounded), kind_of(NoneSandbox())) == ("none", "none")
    assert (cores_of(Rationed(NoneSandbox(), cores=(1,))), cores_of(NoneSandbox())) == ((1,), ())


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="there is no pinning of processes here")
@pytest.mark.parametrize("workers", [1, 2])
def test_agents_commands_have_a_candidates_memory_and_keep_off_the_cores_of_gates(workers: int, lab: Lab) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core cannot be shared")
    (lab.target / "target.toml").write_text(TARGET.replace("[[mix]]", "[limits]\nmemory_gib = 3\n[[mix]]", 1))
    (lab.folder / "looking.py").write_text(LOOKING)
    words = ("--agent", "looking:LookingAgent", "--workers", str(workers), "--device", str(cores[0]))
    done = lab.run(*words)
    assert done.returncode in (0, 1, 5, 6), done.stderr
    told = json.loads((lab.latest / "rounds" / "0001" / "agent.log").read_text())
    assert told == [cores if workers == 1 else cores[1:], 3 * 2**30]
