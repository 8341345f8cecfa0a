"""What a comparison says of real servers, in gates of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gates import Ended, Gates
from laboratory import PERFORMANCE, laboratory
from starter_edits import edited

from pytest_vibeserve.comparison import whole
from pytest_vibeserve.errors import ExitCode
from pytest_vibeserve.report import Comparison, Gain

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
    assert {gain.load for gain in found.objectives} == {"c16"}
    assert set(found.not_compared) == {"c1", "poisson"}
    assert "c1, poisson not compared" in found.standing


@pytest.mark.slow
def test_a_full_gate_compares_the_other_loads_too_and_says_so(gates: Gates, lab: Path, tmp_path: Path) -> None:
    table = (lab / "target.toml").read_text(encoding="utf-8")
    brief = re.sub(r"^full_s = .*$", "full_s = 2", table, flags=re.MULTILINE)
    both = laboratory(tmp_path / "both", performance=PERFORMANCE.replace('["c16"]', '["c1", "c16"]'))
    (both / "target.toml").write_text(brief, encoding="utf-8")
    edited(
        both / "starter",
        tmp_path / "slow",
        ("server.py", SUBMIT, "        import time\n        time.sleep(0.1)\n" + SUBMIT),
    )
    words = (str(both / "test_performance.py"), f"--vibeserve-baseline={tmp_path / 'slow'}", "--vibeserve-insight=no")
    ended = gates.run(both / "starter", *words, "--vibeserve-depth=full", target=str(both))
    found, (beside,) = ended.report.comparison, ended.report.beside
    assert found is not None
    assert (found.load, beside.load) == ("c16", "c1")
    assert {gain.load for gain in found.objectives} == {"c16", "c1"}
    assert next(gain for gain in found.objectives if gain.load == "c1").conclusion == "better"
    assert found.not_compared == ("poisson",)
    assert " with c1 (" in found.standing
    assert found.standing in ended.output.replace("\n", " ")


def a_gain(load: str, low: float, high: float) -> Gain:
    return Gain(metric="ttft_p50", load=load, gain=(low + high) / 2, low=low, high=high, conclusion="better")


def at(load: str, *gains: Gain) -> Comparison:
    return Comparison(
        baseline="b", baseline_tree="t", metric="output_throughput", load=load, gain=1.3, low=1.2, high=1.4, pairs=6,
        conclusion="better", baseline_value=1, candidate_value=1.3, unit="tok/s", objectives=gains,
        relation="dominates", relation_here="dominates",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("beside", "relation", "standing"),
    [
        ([], "dominates", "dominates at c16 (2 objectives); c1, poisson not compared"),
        (
            [at("c1", a_gain("c1", 0.8, 0.9))], "incomparable",
            "dominates at c16 (2 objectives); incomparable with c1 (3 objectives); poisson not compared",
        ),
        (
            [at("c1", a_gain("c1", 0.8, 1.2)), at("poisson", a_gain("poisson", 1.1, 1.2))], "not shown",
            "dominates at c16 (2 objectives); neither is shown to dominate with c1, poisson (4 objectives)",
        ),
    ],
)  # fmt: skip
def test_what_is_worse_at_another_load_is_no_domination_and_what_was_not_compared_is_named(
    beside: list[Comparison], relation: str, standing: str
) -> None:
    main = at("c16", a_gain("c16", 1.2, 1.4), a_gain("c16", 1.1, 1.3))
    found = whole(main, beside, ["c16", "c16", "c1", "poisson"])
    assert (found.relation, found.standing) == (relation, standing)


def test_a_target_of_one_objective_has_nothing_to_say_of_others() -> None:
    assert whole(at("c16", a_gain("c16", 1.2, 1.4)), [], ["c16"]).standing == ""
