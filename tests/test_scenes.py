"""The gates of the larger targets, on their smallest profile: cheats of their own are refused, honest servers are not.

Of each, one cheat is judged by every run, and the starter of those whose gate is quick;
`python -m pytest -m slow tests/test_scenes.py` judges all members of the text targets' zoos.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from gates import Ended, Gates
from starter_edits import LEFT_OUT
from zoo import TARGETS, Member, members_of, starter_of

from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.errors import ExitCode
from pytest_vibeserve.target import load_target

SCENES = ("llama_3_8b", "qwen3_32b_code_edit", "olmo_hybrid_prefix_cache")
MEDIA = ("llama_mlx_json", "moonshine_streaming", "show_o2_h100", "show_o2_macbook")
JUDGED = {
    "llama_3_8b": "chats_unstopped",
    "qwen3_32b_code_edit": "prediction_echoed",
    "olmo_hybrid_prefix_cache": "state_of_a_later_token",
    "llama_mlx_json": "another-cut-anew",
    "moonshine_streaming": "half-rate",
    "show_o2_h100": "half-size",
    "show_o2_macbook": "constant",
}
"""The cheat of each target that every run judges."""

ACCEPTED = {"llama_mlx_json"}
"""The target whose starter every run judges: half a minute."""

ALL = [(scene, name) for scene in SCENES for name in members_of(scene)]
SHARED = ("answers.py", "card.py", "environment.py", "sampling.py", "sequence.py", "text.py")
STARTER = "starter"


def member(scene: str, name: str) -> Member:
    return members_of(scene)[name]


def made(scene: str, name: str, into: Path) -> None:
    """Write the starter of a target, or a member of its zoo."""
    if name == STARTER:
        shutil.copytree(starter_of(scene), into, ignore=LEFT_OUT)
    else:
        member(scene, name).make(into)


def chosen(honest: bool) -> list[object]:
    """Members of one kind, those that not every run judges marked as slow."""
    pairs = [pair for pair in [*ALL, *JUDGED.items()] if member(*pair).honest == honest]
    marks = {pair: () if pair in JUDGED.items() else pytest.mark.slow for pair in pairs}
    return [pytest.param(*pair, marks=mark) for pair, mark in marks.items()]


def starters() -> list[object]:
    return [
        pytest.param(scene, marks=() if scene in ACCEPTED else pytest.mark.slow) for scene in (*SCENES, *MEDIA)
    ]  # fmt: skip


@pytest.fixture
def judged(gates: Gates, request: pytest.FixtureRequest) -> Callable[[str, str], Ended]:
    """How the quick gate of a target ends for a member or its starter; others that are to come are judged meanwhile."""
    for item in request.session.items:
        parameters = getattr(item, "callspec", None)
        if isinstance(item, pytest.Function) and item.module is request.module and "judged" in item.fixturenames:
            assert parameters is not None
            scene, name = parameters.params["scene"], parameters.params.get("name", STARTER)
            hasty = [] if name == STARTER or member(scene, name).honest else ["--exitfirst"]
            gates.begin(f"{scene}.{name}", partial(made, scene, name), *hasty, target=scene)
    return lambda scene, name: gates.result(f"{scene}.{name}")


@pytest.mark.parametrize("scene", SCENES)
def test_each_has_cheats_and_honest_servers_of_its_own(scene: str) -> None:
    found = members_of(scene).values()
    assert sum(not one.honest for one in found) >= 5
    assert sum(one.honest for one in found) >= 3
    assert all(one.honest == one.name.startswith("honest_") == (not one.group) for one in found)
    assert all(re.fullmatch(r"[A-E]\d+", one.group) and one.words for one in found if not one.honest)


@pytest.mark.parametrize("scene", [*SCENES, *MEDIA])
def test_of_each_target_every_run_judges_a_cheat(scene: str) -> None:
    assert not member(scene, JUDGED[scene]).honest


@pytest.mark.parametrize(("scene", "name"), ALL)
def test_a_member_becomes_a_candidate_of_its_own(scene: str, name: str, tmp_path: Path) -> None:
    member(scene, name).make(tmp_path / "made")
    candidate = load_candidate(tmp_path / "made")
    assert (tmp_path / "made" / candidate.serve.command[1]).is_file()
    for path in (tmp_path / "made").rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


@pytest.mark.parametrize(("scene", "name"), chosen(honest=False))
def test_a_cheat_is_rejected_for_what_it_does(scene: str, name: str, judged: Callable[[str, str], Ended]) -> None:
    ended = judged(scene, name)
    assert ended.code == ExitCode.REJECTED, ended.output
    failed = [check for check in ended.report.verdict.checks if check.result == "fail"]
    assert any(member(scene, name).seen_by(check.name) for check in failed), ended.report.verdict.reason


@pytest.mark.parametrize(("scene", "name"), chosen(honest=True))
def test_an_honest_server_is_accepted(scene: str, name: str, judged: Callable[[str, str], Ended]) -> None:
    ended = judged(scene, name)
    assert ended.code == ExitCode.ACCEPTED, ended.output


@pytest.mark.parametrize("scene", starters())
def test_the_starter_is_accepted(scene: str, judged: Callable[[str, str], Ended]) -> None:
    ended = judged(scene, STARTER)
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
