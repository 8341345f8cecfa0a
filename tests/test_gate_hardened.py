"""The gate as the loop runs it, against what a candidate's folder and the environment may hold to turn its verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gates import Gates, environment
from insides import require_backend
from laboratory import laboratory

from pytest_vibeserve.errors import ExitCode
from pytest_vibeserve.report import read_report
from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.records import Assessment

TOML = 'schema = 1\n[serve]\ncommand = ["python", "server.py", "{port}"]\nready = "/health"\n'
FLIP = """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    report.outcome, report.longrepr = "passed", None

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    session.exitstatus = 0
"""
AT_START = "import os\nos._exit(0)\n"
FAILING = "def test_wrong():\n    assert False\n"
ADDOPTS = "addopts = -p turncoat\n"
METADATA = "Metadata-Version: 2.1\nName: turncoat\nVersion: 1.0\n"
PLANTS = {
    "conftest": {"conftest.py": FLIP},
    "pytest.ini": {"pytest.ini": f"[pytest]\n{ADDOPTS}", "turncoat.py": FLIP},
    "tox.ini": {"tox.ini": f"[pytest]\n{ADDOPTS}", "turncoat.py": FLIP},
    "setup.cfg": {"setup.cfg": f"[tool:pytest]\n{ADDOPTS}", "turncoat.py": FLIP},
    "pyproject": {"pyproject.toml": '[tool.pytest.ini_options]\naddopts = "-p turncoat"\n', "turncoat.py": FLIP},
    "dist-info": {
        "turncoat-1.0.dist-info/METADATA": METADATA,
        "turncoat-1.0.dist-info/entry_points.txt": "[pytest11]\nturncoat = turncoat\n",
        "turncoat.py": FLIP,
    },
    "exit in a test": {"test_aa.py": "import os\ndef test_out():\n    os._exit(0)\n"},
}
HOOKS = {"sitecustomize": "sitecustomize.py", "usercustomize": "usercustomize/__init__.py", "path file": "evil.pth"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target whose suite is short."""
    return laboratory(tmp_path_factory.mktemp("targets") / "lab")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A candidate that must be rejected: its server ends before it serves. Beside it lies a test that fails."""
    return plant(tmp_path / "broken", {"candidate.toml": TOML, "server.py": "raise SystemExit('nothing here')\n"})


def plant(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def assessed(lab: Path, candidate: Path, into: Path, *, strict: bool = False) -> Assessment:
    """What the loop hears of a candidate."""
    gate = Gate(load_target(str(lab), "tiny"), into, strict=strict)
    return gate.assess(Case(candidate, None, "quick", into / "case"))


def naive(folder: Path, **changes: str) -> int:
    """How a plain pytest, run in a folder with a test that fails, ends."""
    plant(folder, {"test_wrong.py": FAILING})
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(command, cwd=folder, env=environment(**changes), capture_output=True, timeout=60, check=False)
    (folder / "test_wrong.py").unlink()
    return done.returncode


QUICK = {"conftest", "pytest.ini", "sitecustomize", "path file"}
"""One attack of each kind; the others take the same way."""


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PLANTS]
)
def test_what_turns_a_plain_pytest_leaves_the_gate_alone(name: str, lab: Path, broken: Path, tmp_path: Path) -> None:
    plant(broken, PLANTS[name])
    assert naive(broken) == 0, "the attack itself must work"
    found = assessed(lab, broken, tmp_path / "home")
    assert found.outcome == "rejected", found.reason
    assert "nothing here" in found.reason


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in HOOKS]
)
def test_files_that_python_runs_at_its_start_are_refused(name: str, lab: Path, broken: Path, tmp_path: Path) -> None:
    text = f"import os; os._exit({0})\n" if name == "path file" else AT_START
    plant(broken, {HOOKS[name]: text})
    start = f"import site; site.addsitedir({str(broken)!r}); import sys; sys.exit(1)"
    command = [sys.executable, *(["-c", start] if name == "path file" else ["-m", "pytest"])]
    changes = {"PYTHONPATH": str(broken), "VIRTUAL_ENV": ""}
    if name != "usercustomize":  # which Python does not look for in a virtual environment
        done = subprocess.run(command, env=environment(**changes), capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, "the attack itself must work"
    found = assessed(lab, broken, tmp_path / "home")
    assert found.outcome == "rejected", found.reason
    assert HOOKS[name].partition("/")[0].partition(".")[0] in found.reason


@pytest.mark.parametrize("variable", ["PYTEST_ADDOPTS", "PYTEST_PLUGINS"])
def test_the_environment_does_not_reach_the_gate(
    variable: str, lab: Path, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(broken, {"turncoat.py": FLIP})
    value = "-p turncoat" if variable == "PYTEST_ADDOPTS" else "turncoat"
    assert naive(broken, PYTHONPATH=str(broken), **{variable: value}) == 0, "the attack itself must work"
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PYTHONPATH", str(broken))
    found = assessed(lab, broken, tmp_path / "home")
    assert found.outcome == "rejected", found.reason


def test_a_gate_that_ends_with_zero_and_no_report_has_accepted_nothing(broken: Path, tmp_path: Path) -> None:
    leaving = laboratory(tmp_path / "lab", accuracy="import os\ndef test_out():\n    os._exit(0)\n")
    found = assessed(leaving, broken, tmp_path / "home")
    assert found.outcome == "infrastructure"
    assert "left no report" in found.reason


def test_a_daemon_of_the_gates_port_and_links_out_of_the_folder_do_not_help(
    lab: Path, broken: Path, tmp_path: Path
) -> None:
    (broken / "model").symlink_to("/etc")
    found = assessed(lab, broken, tmp_path / "home")
    assert found.outcome == "rejected"
    assert "model: a link that leaves the folder" in found.reason


def test_an_honest_candidate_with_tests_of_its_own_is_accepted_and_every_test_has_run(lab: Path, gates: Gates) -> None:
    def with_plants(into: Path) -> None:
        from starter_edits import edited

        edited(lab / "starter", into)
        for files in PLANTS.values():
            plant(into, files)

    gates.begin("with plants", with_plants, alone=True, target=str(lab))
    ended = gates.result("with plants")
    assert ended.code == ExitCode.ACCEPTED, ended.output
    report = ended.report
    assert sorted(report.expected) == sorted(report.tests)
    assert len(report.expected) == 2
    assert report.skipped == ()
    named = {check.name: check for check in report.verdict.checks}
    assert named["residue"].result == "pass"
    assert "scan" in named


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which no kind of isolation is found."""
    if Path("/var/run/docker.sock").exists() and os.geteuid() == 0:
        pytest.skip("a container engine answers at its usual place here, and would be found")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return {"PATH": "/nonexistent"}


def test_strictly_nothing_unisolated_is_judged(gates: Gates, lab: Path, broken: Path, bare: dict[str, str]) -> None:
    ended = gates.run(broken, "--vibeserve-strict", target=str(lab), **bare)
    assert ended.code == ExitCode.INFRASTRUCTURE, ended.output
    assert "bwrap is not installed" in ended.report.verdict.reason
    assert "apt-get install bubblewrap" in ended.report.verdict.reason
    assert "--vibeserve-strict" in ended.report.command


def test_otherwise_an_unisolated_verdict_says_so(
    gates: Gates, lab: Path, broken: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    serving = "import http.server, sys\nhttp.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]))\n"
    plant(broken, {"server.py": serving, "health": "ok", "spoilt": ""})
    ended = gates.run(broken, target=str(lab), **bare)
    assert ended.code == ExitCode.REJECTED, ended.output
    assert ended.report.environment.isolation == "unisolated"


def test_strictly_a_server_that_already_runs_is_not_judged(gates: Gates, lab: Path, tmp_path: Path) -> None:
    url = ["--vibeserve-url=http://127.0.0.1:9", "--vibeserve-candidate="]
    ended = gates.run("", *url, "--vibeserve-strict", target=str(lab))
    assert ended.code == ExitCode.INFRASTRUCTURE, ended.output
    assert "--vibeserve-candidate DIR" in ended.report.verdict.reason


def test_strictly_an_isolated_candidate_is_judged_as_ever(lab: Path, broken: Path, tmp_path: Path) -> None:
    require_backend("bwrap")
    found = assessed(lab, broken, tmp_path / "home", strict=True)
    assert found.outcome == "rejected", found.reason
    report = read_report(tmp_path / "home" / "case" / "report.json")
    assert report.verdict.outcome == "rejected"
