"""The gates of the larger targets, on their smallest profile: cheats of their own are refused, honest servers are not.

One is judged by every run; `python -m pytest -m slow tests/test_scenes.py` judges all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from gates import Ended, Gates
from zoo import TARGETS, Member, members_of

from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.errors import ExitCode
from pytest_vibeserve.target import load_target

SCENES = ("llama_3_8b", "qwen3_32b_code_edit", "olmo_hybrid_prefix_cache")
CORE = {("olmo_hybrid_prefix_cache", "state_of_a_later_token")}
ALL = [(scene, name) for scene in SCENES for name in members_of(scene)]
SHARED = ("answers.py", "card.py", "environment.py", "sampling.py", "sequence.py", "text.py")


def member(scene: str, name: str) -> Member:
    return members_of(scene)[name]


def chosen(honest: bool) -> list[object]:
    """Members of one kind, those outside the core marked as slow."""
    found = [pair for pair in ALL if member(*pair).honest == honest]
    return [pytest.param(*pair, marks=() if pair in CORE else pytest.mark.slow) for pair in found]


@pytest.fixture
def judged(gates: Gates, tmp_path: Path) -> Callable[..., Ended]:
    """How the quick gate of a member's target ends for it."""

    def judge(scene: str, name: str, *arguments: str) -> Ended:
        candidate = tmp_path / name
        member(scene, name).make(candidate)
        return gates.run(candidate, *arguments, target=scene)

    return judge


@pytest.mark.parametrize("scene", SCENES)
def test_each_has_cheats_and_honest_servers_of_its_own(scene: str) -> None:
    found = members_of(scene).values()
    assert sum(not one.honest for one in found) >= 5
    assert sum(one.honest for one in found) >= 3
    assert all(one.honest == one.name.startswith("honest_") == (not one.group) for one in found)
    assert all(re.fullmatch(r"[A-E]\d+", one.group) and one.words for one in found if not one.honest)


@pytest.mark.parametrize(("scene", "name"), ALL)
def test_a_member_becomes_a_candidate_of_its_own(scene: str, name: str, tmp_path: Path) -> None:
    member(scene, name).make(tmp_path / "made")
    candidate = load_candidate(tmp_path / "made")
    assert (tmp_path / "made" / candidate.serve.command[1]).is_file()
    for path in (tmp_path / "made").rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


@pytest.mark.parametrize(("scene", "name"), chosen(honest=False))
def test_a_cheat_is_rejected_for_what_it_does(scene: str, name: str, judged: Callable[..., Ended]) -> None:
    ended = judged(scene, name, "--exitfirst")
    assert ended.code == ExitCode.REJECTED, ended.output
    failed = [check for check in ended.report.verdict.checks if check.result == "fail"]
    assert any(member(scene, name).seen_by(check.name) for check in failed), ended.report.verdict.reason


@pytest.mark.parametrize(("scene", "name"), chosen(honest=True))
def test_an_honest_server_is_accepted(scene: str, name: str, judged: Callable[..., Ended]) -> None:
    ended = judged(scene, name)
    assert ended.code == ExitCode.ACCEPTED, ended.output


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_the_starter_is_accepted(scene: str, gates: Gates) -> None:
    ended = gates.run(TARGETS / scene / "starter", target=scene)
    assert ended.code == ExitCode.ACCEPTED, ended.output


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("profile", ["full", "full_shape", "tiny"])
def test_every_profile_says_where_its_weights_come_from(scene: str, profile: str) -> None:
    target = load_target(str(TARGETS / scene), profile)
    assert bool(target.model.builder) == (profile != "full")
    assert target.hardware.backend == ("cpu" if profile == "tiny" else "cuda")


@pytest.mark.parametrize("scene", SCENES)
def test_what_its_starter_shares_with_the_smallest_is_one_text(scene: str) -> None:
    for name in SHARED:
        one, other = (TARGETS / target / "starter" / name for target in (scene, "tiny_llama"))
        assert one.read_text(encoding="utf-8") == other.read_text(encoding="utf-8"), name


@pytest.mark.parametrize("scene", SCENES)
def test_every_baseline_is_a_candidate_and_says_what_it_needs(scene: str) -> None:
    folders = sorted(path for path in (TARGETS / scene / "baselines").iterdir() if path.is_dir())
    assert {"vllm", "sglang"} <= {folder.name for folder in folders}
    for folder in folders:
        assert load_candidate(folder).serve.command
        assert "**Needs**" in (folder / "README.md").read_text(encoding="utf-8")
