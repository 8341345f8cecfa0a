"""How a gate ends that does not get as far as judging: each ending has its exit code and one line that says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from gates import Gates, environment, run_pytest
from laboratory import laboratory

from pytest_vibeserve.errors import ExitCode

HEAVY = ("torch", "numpy", "pydantic", "transformers", "aiohttp", "uvloop", "tokenizers")
ASKS = "--vibeserve-target=tiny_llama"
MORTAL = """
import http.server, os, sys, threading

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        threading.Timer(0.01, os._exit, [0]).start()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Ready).serve_forever()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A target whose suite is short."""
    return laboratory(tmp_path / "lab")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A candidate's folder with a server that ends before it serves."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "server.py").write_text("raise SystemExit('no weights here')\n")
    command = '["python", "server.py", "--port", "{port}"]'
    (folder / "candidate.toml").write_text(f'schema = 1\n[serve]\ncommand = {command}\nready = "/health"\n')
    return folder


def test_without_a_target_the_plugin_does_nothing_and_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_any.py").write_text("def test_any(): pass\n")
    (tmp_path / "conftest.py").write_text(
        f"import sys\ndef pytest_unconfigure():\n    print('loaded:', [m for m in {HEAVY} if m in sys.modules])\n"
    )
    plugins = ["-p", "pytest_vibeserve.plugin", "-p", "pytest_benchmark.plugin"]
    ended = run_pytest(plugins, tmp_path, tmp_path, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert ended.code == 0, ended.output
    assert "loaded: []" in ended.output
    assert "vibeserve" not in ended.output.replace(str(tmp_path), "").replace("plugins: vibeserve", "")
    assert not (tmp_path / "report.json").exists()


def test_a_test_that_asks_for_the_judge_is_skipped_without_a_target(root: Path, tmp_path: Path) -> None:
    ended = run_pytest([str(root / "targets" / "tiny_llama"), "-rs"], tmp_path, root)
    assert ended.code == 0, ended.output
    assert "no target: run with --vibeserve-target NAME --vibeserve-candidate DIR" in ended.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([ASKS], "give one of --vibeserve-candidate DIR"),
        ([ASKS, "--vibeserve-candidate=x", "--vibeserve-url=http://h:1"], "both are given"),
        (["--vibeserve-candidate=."], "--vibeserve-candidate needs a target: add --vibeserve-target NAME"),
        (["--vibeserve-target=tinny_llama", "--vibeserve-candidate=."], "did you mean tiny_llama"),
        ([ASKS, "--vibeserve-candidate=absent"], "there is no folder 'absent'"),
        ([ASKS, "--vibeserve-candidate=starter", "--vibeserve-depth=deep"], "takes quick or full, not 'deep'"),
    ],
)
def test_a_wrong_command_ends_with_four_and_one_line(
    arguments: list[str], told: str, root: Path, tmp_path: Path
) -> None:
    ended = run_pytest([*arguments, f"--vibeserve-report={tmp_path}/report.json"], tmp_path, root)
    assert ended.code == ExitCode.USAGE, ended.output
    said = [line for line in ended.output.splitlines() if line.strip()]
    assert len(said) == 1
    assert told in said[0]
    assert not ended.report_file.exists()


def test_to_collect_the_suite_judges_nothing_and_leaves_an_earlier_report_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("that of an earlier gate")
    asked = [ASKS, "--vibeserve-candidate=starter", "--collect-only", "-q"]
    ended = run_pytest([*asked, f"--vibeserve-report={tmp_path}/report.json"], tmp_path, root)
    assert ended.code == ExitCode.NOTHING, ended.output
    assert "test_accuracy.py::test_answers_are_the_models_own" in ended.output
    assert "nothing was judged: the tests were only collected" in ended.output
    assert ended.report_file.read_text() == "that of an earlier gate"


def test_a_target_without_tests_says_which_to_write(lab: Path, tmp_path: Path) -> None:
    for name in ("test_accuracy.py", "test_performance.py"):
        (lab / name).unlink()
    asked = [f"--vibeserve-target={lab}", "--vibeserve-candidate=starter", f"--vibeserve-report={tmp_path}/report.json"]
    ended = run_pytest(asked, tmp_path, tmp_path)
    assert ended.code == ExitCode.NOTHING, ended.output
    assert f"nothing was judged: write {lab}/test_accuracy.py with tests that ask for `judge`" in ended.output
    assert not ended.report_file.exists()


def test_the_ini_file_may_hold_every_option(root: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nvibeserve_target = tiny_llama\nvibeserve_candidate = absent\n")
    ended = run_pytest(["-c", str(tmp_path / "pytest.ini")], tmp_path, root)
    assert ended.code == ExitCode.USAGE, ended.output
    assert "there is no folder 'absent'" in ended.output


def test_one_test_may_not_both_judge_and_measure(gates: Gates, tmp_path: Path) -> None:
    lab = laboratory(tmp_path / "lab", accuracy="def test_both(judge, evaluator):\n    pass\n")
    ended = gates.run(lab / "starter", target=str(lab))
    assert ended.code == ExitCode.USAGE, ended.output
    assert "test_both asks for judge and evaluator: make two tests of it" in ended.output
    assert not ended.report_file.exists()


def test_a_suite_that_cannot_be_collected_is_the_users_to_mend(gates: Gates, tmp_path: Path) -> None:
    lab = laboratory(tmp_path / "lab", accuracy="def test_half(judge)\n")
    ended = gates.run(lab / "starter", target=str(lab))
    assert ended.code == ExitCode.USAGE, ended.output
    assert "test_accuracy.py cannot be collected" in ended.output


def test_no_test_selected_is_never_an_acceptance(gates: Gates, lab: Path) -> None:
    ended = gates.run(lab / "starter", "-k", "nothing_of_that_name", target=str(lab))
    assert ended.code == ExitCode.NOTHING, ended.output


def test_a_suite_that_judges_nothing_is_never_an_acceptance(gates: Gates, tmp_path: Path) -> None:
    lab = laboratory(tmp_path / "lab", accuracy="def test_idle(judge):\n    pass\n", performance="")
    ended = gates.run(lab / "starter", target=str(lab))
    assert ended.code == ExitCode.NOTHING, ended.output
    assert ended.report.verdict.reason == "no accuracy test has judged an answer"


def test_a_server_that_does_not_start_is_rejected_with_its_own_words(gates: Gates, lab: Path, broken: Path) -> None:
    ended = gates.run(broken, target=str(lab))
    assert ended.code == ExitCode.REJECTED, ended.output
    assert ended.report.verdict.outcome == "rejected"
    assert "no weights here" in ended.report.verdict.model_dump_json()
    assert "Traceback" not in ended.output


def test_a_server_that_ends_once_it_was_ready_is_rejected(gates: Gates, lab: Path, broken: Path) -> None:
    (broken / "server.py").write_text(MORTAL)
    ended = gates.run(broken, target=str(lab))
    assert ended.code == ExitCode.REJECTED, ended.output
    assert ended.report.verdict.reason == "service.alive: the server ended while in service"


def test_a_candidate_file_with_a_mistake_is_rejected_with_the_field(gates: Gates, lab: Path, broken: Path) -> None:
    (broken / "candidate.toml").write_text('schema = 1\n[serve]\ncomand = ["x"]\nready = "/health"\n')
    ended = gates.run(broken, target=str(lab))
    assert ended.code == ExitCode.REJECTED, ended.output
    assert "serve.comand is no known field; did you mean command?" in ended.report.verdict.reason


def test_a_machine_that_cannot_hold_the_model_blames_nobody(gates: Gates, lab: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    ended = gates.run(lab / "starter", target=str(lab), VIBESERVE_CACHE=str(tmp_path / "file"))
    assert ended.code == ExitCode.INFRASTRUCTURE, ended.output
    assert ended.report.verdict.outcome == "infrastructure"


def test_a_baseline_that_does_not_serve_is_no_fault_of_the_candidate(gates: Gates, lab: Path, broken: Path) -> None:
    performance = [str(lab / "test_performance.py"), f"--vibeserve-baseline={broken}"]
    ended = gates.run(lab / "starter", *performance, target=str(lab))
    assert ended.code == ExitCode.INFRASTRUCTURE, ended.output
    assert "the baseline broken does not serve" in ended.report.verdict.reason


def test_a_baseline_that_could_never_be_started_is_the_users_to_mend(gates: Gates, lab: Path, tmp_path: Path) -> None:
    ended = gates.run(lab / "starter", f"--vibeserve-baseline={tmp_path}", target=str(lab))
    assert ended.code == ExitCode.USAGE, ended.output
    assert "no candidate.toml" in ended.output
    assert not ended.report_file.exists()


def test_an_error_in_a_test_of_the_target_is_not_the_candidates(gates: Gates, tmp_path: Path) -> None:
    lab = laboratory(tmp_path / "lab", accuracy="def test_wrong(judge):\n    judge.no_such_method()\n", performance="")
    ended = gates.run(lab / "starter", target=str(lab))
    assert ended.code == ExitCode.INFRASTRUCTURE, ended.output
    assert "AttributeError" in ended.report.verdict.reason


def test_the_plugin_is_registered_once_with_and_without_its_entry_point(root: Path) -> None:
    program = "import sys, pytest; sys.exit(pytest.main(['--version', '-p', 'no:cacheprovider']))"
    for alone in (
        {},
        {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_benchmark.plugin,pytest_timeout"},
    ):
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env=environment(**alone),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
