"""The loop believes a gate only when everything about its report fits."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest
from loop_lab import GATE, Lab

from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import KEPT, KEPT_FROM, Case, Gate
from vibeserve_loop.machine import ray_gate
from vibeserve_loop.records import Assessment

EDITED = """
import json, os, runpy, sys
report = sys.argv[sys.argv.index("--vibeserve-report") + 1]
try:
    runpy.run_path({gate!r}, run_name="__main__")
except SystemExit as ended:
    code = ended.code
with open(report) as file:
    table = json.load(file)
{edit}
with open(report, "w") as file:
    json.dump(table, file)
sys.exit(code)
"""


def assessed(lab: Lab, edit: str, *, strict: bool = False) -> Assessment:
    """What the loop makes of the small gate's report after an edit."""
    program = lab.folder / "edited_gate.py"
    program.write_text(EDITED.format(gate=str(GATE), edit=edit))
    command = (sys.executable, "-I", "-S", "-B", str(program))
    gate = Gate(load_target(str(lab.target), "full"), lab.folder / "home", command, strict)
    return gate.assess(Case(lab.target / "starter", None, "quick", lab.folder / "home" / "case"))


def test_an_acceptance_in_which_everything_fits_is_believed(lab: Lab) -> None:
    assert assessed(lab, "").outcome == "accepted"


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ("table['expected'].append('test_more.py::test_b')", "1 tests ran of 2 that were collected, not test_more.py"),
        ("table['tests'] = []", "0 tests ran of 1 that were collected, not test_accuracy.py::test_answers"),
        ("table['tests'] *= 2", "2 tests ran of 1 that were collected"),
        ("table['tests'] = table['expected'] = []", "0 tests ran of 0 that were collected"),
        ("del table['expected']", "1 tests ran of 0 that were collected"),
        ("table['nonce'] = 'another'", "its nonce differs"),
        ("code = 1", "the gate ended with 1, its report says accepted"),
        ("table['verdict']['outcome'] = 'rejected'", "the gate ended with 0, its report says rejected"),
    ],
)
def test_an_acceptance_that_does_not_fit_is_none(lab: Lab, edit: str, why: str) -> None:
    found = assessed(lab, edit)
    assert found.outcome == "infrastructure"
    assert why in found.reason


def test_strictly_what_ran_unisolated_is_not_accepted(lab: Lab) -> None:
    edit = "table['environment']['isolation'] = 'unisolated'"
    assert assessed(lab, edit).outcome == "accepted"
    found = assessed(lab, edit + "\nassert '--vibeserve-strict' in sys.argv", strict=True)
    assert found.outcome == "infrastructure"
    assert "vibeserve-loop doctor" in found.reason


def test_the_gate_sees_nothing_of_the_loops_environment_and_runs_outside_the_workspace(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "x" if name != "LD_PRELOAD" else "")
    monkeypatch.setenv("VIBESERVE_DATA_VOICES", "where a data set lies")
    seen = lab.folder / "seen.json"
    assessed(lab, f"json.dump([sorted(os.environ), os.getcwd(), sys.argv], open({str(seen)!r}, 'w'))")
    names, folder, words = json.loads(seen.read_text())
    known = {"PATH", "HOME", "LC_ALL", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "VIBESERVE_DATA_VOICES"}
    assert known <= set(names)
    assert all(name in known or name in KEPT or name.startswith(KEPT_FROM) for name in names)
    assert Path(folder) == lab.folder / "home"
    assert words[words.index("no:cacheprovider") - 1 :][:2] == ["-p", "no:cacheprovider"]
    assert words[words.index("--confcutdir") + 1] == str(lab.target)


PLACES = {
    "VIBESERVE_REFERENCE_DEVICE": "cuda:1", "VIBESERVE_CACHE": "/weights", "TMPDIR": "/tmp", "HF_HOME": "/hub",
    "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "https://hub.invalid", "HF_TOKEN": "a-right-to-gated-models",
    "HTTPS_PROXY": "http://proxy.invalid", "LD_LIBRARY_PATH": "",
}  # fmt: skip


def test_the_gate_sees_what_its_documents_tell_a_user_to_set(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLACES.items():
        monkeypatch.setenv(name, value)
    seen = lab.folder / "seen.json"
    assessed(lab, f"json.dump(dict(os.environ), open({str(seen)!r}, 'w'))")
    given = json.loads(seen.read_text())
    assert {name: given.get(name) for name in PLACES} == PLACES


def test_a_gate_on_a_node_is_given_what_one_on_this_machine_is() -> None:
    assert set(ray_gate.KEPT) == {*KEPT, "LC_ALL"}
    assert ray_gate.KEPT_FROM == KEPT_FROM


OPINION = "import json; print(json.dumps({{'ask': {ask!r}, 'why': 'it keeps answers'}}))"


@pytest.mark.parametrize(("ask", "times"), [("nothing", None), ("more probes", "4"), ("a person", "4")])
def test_a_reviewer_has_more_audited_and_decides_nothing(lab: Lab, ask: str, times: str | None) -> None:
    seen, reviewer = lab.folder / "seen", lab.folder / "reviewer.py"
    reviewer.write_text(OPINION.format(ask=ask))
    program = lab.folder / "edited_gate.py"
    keep = f"open({str(seen)!r}, 'w').write(repr(sys.argv))"
    program.write_text(EDITED.format(gate=str(GATE), edit=keep))
    command = (sys.executable, "-I", "-S", "-B", str(program))
    gate = Gate(
        load_target(str(lab.target), "full"), lab.folder / "home", command, reviewer=(sys.executable, str(reviewer))
    )
    found = gate.assess(Case(lab.target / "starter", None, "quick", lab.folder / "home" / "case"))
    assert found.outcome == "accepted"
    assert found.opinion is not None
    assert found.opinion.ask == ask
    assert found.needs_person == ("it keeps answers" if ask == "a person" else "")
    given = ast.literal_eval(seen.read_text())
    assert (given[given.index("--vibeserve-sampling") + 1] if times else None) == times
    assert ("--vibeserve-sampling" in given) == bool(times)
