"""What a comparison says of real servers, in gates of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gates import Ended, Gates
from laboratory import laboratory
from starter_edits import edited

from pytest_vibeserve.errors import ExitCode

LONGEST_WAIT_S = 5
SERVED = 40
SUBMIT = "        self._generator.submit(request)\n"
COUNT = f"        self.asked = getattr(self, 'asked', 0) + 1\n        if self.asked > {SERVED}:\n"
STOPS = {
    "hanging": "            await asyncio.sleep(3600)\n",
    "failing": "            raise web.HTTPInternalServerError()\n",
    "ending": "            import os\n            os._exit(3)\n",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target whose requests may take a few seconds."""
    found = laboratory(tmp_path_factory.mktemp("targets") / "lab")
    table = (found / "target.toml").read_text(encoding="utf-8")
    limited = re.sub(r"^longest_wait_s = .*$", f"longest_wait_s = {LONGEST_WAIT_S}", table, flags=re.MULTILINE)
    assert limited != table
    (found / "target.toml").write_text(limited, encoding="utf-8")
    return found


def measured(gates: Gates, lab: Path, baseline: Path) -> Ended:
    """A gate of the starter against a baseline, without its accuracy contract."""
    return gates.run(
        lab / "starter", str(lab / "test_performance.py"), f"--vibeserve-baseline={baseline}", target=str(lab)
    )


@pytest.mark.parametrize("how", [pytest.param(how, marks=[pytest.mark.slow] * (how != "ending")) for how in STOPS])
def test_a_baseline_that_stops_half_way_is_the_machines_fault_and_ends_the_gate(
    how: str, gates: Gates, lab: Path, tmp_path: Path
) -> None:
    edited(lab / "starter", tmp_path / how, ("server.py", SUBMIT, COUNT + STOPS[how] + SUBMIT))
    ended = measured(gates, lab, tmp_path / how)
    assert ended.code == ExitCode.INFRASTRUCTURE, ended.output
    assert f"the baseline {how} " in ended.report.verdict.reason
    assert not [check for check in ended.report.verdict.checks if check.result == "fail"]


def test_a_baseline_of_half_the_speed_is_beaten_in_a_few_pairs(gates: Gates, lab: Path, tmp_path: Path) -> None:
    slower = "        import time\n        time.sleep(0.1)\n"
    edited(lab / "starter", tmp_path / "slow", ("server.py", SUBMIT, slower + SUBMIT))
    found = measured(gates, lab, tmp_path / "slow").report.comparison
    assert found is not None
    assert (found.conclusion, found.ended) == ("better", "decided")
    assert found.low > 1.01
    assert found.pairs == 2 * len(found.ratios)
    assert found.pairs >= 4
    assert found.confidence == pytest.approx(0.95)
    assert found.conditions is not None
    assert found.noise is not None
    assert {gain.metric for gain in found.objectives} >= {"output_throughput", "ttft_p50", "tpot_p50"}
