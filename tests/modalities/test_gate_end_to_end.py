"""The gate as a user runs it on a chat, a speech and an image target: honest servers are accepted, cheats refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from gates import Ended, Gates
from wired import member

from pytest_vibeserve.errors import ExitCode

HERE = Path(__file__).resolve().parent
ACCURACY = """
from pytest_vibeserve.modalities import Judging


def test_answers_are_the_models_own(judge: Judging) -> None:
    judge.audit()


def test_refusals_are_refusals(judge: Judging) -> None:
    judge.interface()


def test_nothing_passes_between_clients(judge: Judging) -> None:
    judge.sessions()


def test_what_comes_again_is_computed_again(judge: Judging) -> None:
    judge.repeats()


def test_the_weights_are_those_given(judge: Judging) -> None:
    judge.canary()
"""
PERFORMANCE = """
from pytest_vibeserve.evaluator import Evaluator


def test_load(evaluator: Evaluator) -> None:
    evaluator.measure("c1")
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A target, its server's program ("" for the target's zoo), and a cheat with the checks one of which sees it."""

    target: str
    program: str
    cheat: str
    checks: tuple[str, ...]


KINDS = {
    "chat": Kind("tiny_chat", "chat_server.py", "filled", ("audit.request",)),
    "json": Kind("llama_mlx_json", "", "filled", ("audit.request",)),
    "speech": Kind("moonshine_streaming", "", "half-rate", ("audit.request",)),
    "image": Kind("show_o2_h100", "", "fewer-steps", ("audit.noise-ratio", "audit.request")),
}


def contract(kind: Kind, into: Path) -> tuple[str, str]:
    """The target and its profile: a copy with tests, beside the text target that it is made of, where it has none."""
    if not kind.program:
        return kind.target, "tiny"
    folder = into / "tests" / "modalities" / "targets" / kind.target
    shutil.copytree(HERE / "targets" / kind.target, folder)
    text = HERE.parents[1] / "targets" / "tiny_llama" / "reference.py"
    (into / "targets" / "tiny_llama").mkdir(parents=True)
    shutil.copy(text, into / "targets" / "tiny_llama")
    (folder / "test_accuracy.py").write_text(ACCURACY)
    (folder / "test_performance.py").write_text(PERFORMANCE)
    return str(folder), "full"


def candidate(kind: Kind, how: str, into: Path) -> Path:
    """The server of that kind as a candidate's folder."""
    if not kind.program:
        return member(kind.target, how, into)
    shutil.copytree(HERE / "servers", into / "servers", ignore=shutil.ignore_patterns("__pycache__"))
    command = ["python", f"servers/{kind.program}", "{model}", how, "{port}"]
    (into / "candidate.toml").write_text(f'schema = 1\n[serve]\ncommand = {json.dumps(command)}\nready = "/health"\n')
    return into


def judged(kind: Kind, how: str, depth: str, gates: Gates, place: Path, *more: str) -> Ended:
    target, profile = contract(kind, place)
    given = (f"--vibeserve-profile={profile}", f"--vibeserve-depth={depth}", *more)
    return gates.run(candidate(kind, how, place / how), *given, target=target)


@pytest.mark.slow
@pytest.mark.parametrize("depth", ["quick", "full"])
@pytest.mark.parametrize("name", sorted(KINDS))
def test_an_honest_server_is_accepted(name: str, depth: str, gates: Gates, tmp_path: Path) -> None:
    ended = judged(KINDS[name], "honest", depth, gates, tmp_path)
    assert ended.code == ExitCode.ACCEPTED, ended.output
    report = ended.report
    assert report.verdict.provisional == (depth == "quick")
    assert {check.result for check in report.verdict.checks} <= {"pass", "skip"}
    assert [one.metric for one in report.measurements]
    assert report.environment.isolation != "unisolated"


@pytest.mark.slow
@pytest.mark.parametrize("depth", ["quick", "full"])
@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_cheat_is_refused_for_what_it_does(name: str, depth: str, gates: Gates, tmp_path: Path) -> None:
    kind = KINDS[name]
    ended = judged(kind, kind.cheat, depth, gates, tmp_path, "--exitfirst")
    assert ended.code == ExitCode.REJECTED, ended.output
    assert {check.name for check in ended.report.verdict.checks if check.result == "fail"} & set(kind.checks)
    assert not ended.report.measurements
