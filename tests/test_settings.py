"""What the user typed is checked before anything starts, and every refusal says what to type instead."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.settings import Settings, read_settings

Read = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Settings from options by name, read in an empty folder."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "mine").mkdir()

    def given(**options: str) -> Settings:
        named = {name.replace("_", "-"): value for name, value in options.items()}
        return read_settings(lambda name: named.get(name, ""), tmp_path)

    return given


def test_a_target_and_a_candidate_are_enough(read: Read, tmp_path: Path) -> None:
    found = read(target="tiny_llama", candidate="mine")
    assert found.candidate == tmp_path / "mine"
    assert (found.depth, found.target.profile, found.report) == ("full", "full", tmp_path / "report.json")
    assert (found.baseline, found.markdown, found.server_log) == (None, None, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "give one of --vibeserve-candidate DIR .* and --vibeserve-url URL; neither is given"),
        ({"candidate": "mine", "url": "http://h:1"}, "both are given"),
        ({"candidate": "absent"}, "there is no folder 'absent'; give a path, or one of tiny_llama's own: .*starter"),
        ({"candidate": "mine", "baseline": "startr"}, "did you mean starter"),
        ({"candidate": "mine", "depth": "deep"}, "takes quick or full, not 'deep'"),
        ({"candidate": "mine", "profile": "tinny"}, "did you mean tiny"),
        ({"url": "127.0.0.1:8000"}, "should look like http://127.0.0.1:8000"),
        ({"url": "https://127.0.0.1:8000"}, "should look like http://127.0.0.1:8000"),
        ({"url": "http://"}, "should look like http://127.0.0.1:8000"),
        ({"url": "http://127.0.0.1:port"}, "should look like http://127.0.0.1:8000"),
        ({"url": "http://127.0.0.1:99999"}, "should look like http://127.0.0.1:8000"),
        ({"url": "http://[::1"}, "should look like http://127.0.0.1:8000"),
    ],
)
def test_a_wrong_option_is_answered_with_the_right_one(read: Read, options: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        read(target="tiny_llama", **options)
    assert "\n" not in str(raised.value)


def test_strictness_is_off_unless_it_is_asked_for_and_is_part_of_the_command(read: Read) -> None:
    assert not read(target="tiny_llama", candidate="mine").strict
    assert not read(target="tiny_llama", candidate="mine", strict="no").strict
    asked = read(target="tiny_llama", candidate="mine", strict="yes")
    assert asked.strict
    assert "--vibeserve-strict" in shlex.split(asked.command)
    with pytest.raises(UsageError, match="takes yes or no, not 'maybe'"):
        read(target="tiny_llama", candidate="mine", strict="maybe")


def test_the_targets_starter_goes_by_its_name(read: Read) -> None:
    found = read(target="tiny_llama", candidate="mine", baseline="starter")
    assert found.baseline == found.target.folder / "starter"


def test_a_baseline_that_could_never_be_started_is_refused_at_once(read: Read, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match=r"--vibeserve-baseline bare: no candidate.toml in .*bare: write one with"):
        read(target="tiny_llama", candidate="mine", baseline="bare")
    (tmp_path / "bare" / "candidate.toml").write_text('schema = 1\n[serve]\ncomand = ["x"]\nready = "/health"\n')
    with pytest.raises(UsageError, match=r"serve.comand is no known field; did you mean command"):
        read(target="tiny_llama", candidate="mine", baseline="bare")


def test_a_folder_of_ones_own_hides_the_targets(read: Read, tmp_path: Path) -> None:
    (tmp_path / "starter").mkdir()
    assert read(target="tiny_llama", candidate="starter").candidate == tmp_path / "starter"


def test_a_ci_jobs_summary_file_is_used_without_asking(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert read(target="tiny_llama", candidate="mine").markdown == tmp_path / "summary.md"
    assert read(target="tiny_llama", candidate="mine").markdown_is_shared
    own = read(target="tiny_llama", candidate="mine", markdown="own.md")
    assert (own.markdown, own.markdown_is_shared) == (tmp_path / "own.md", False)


@pytest.mark.parametrize("alpha", ["much", "0", "-0.1", "0.5", "nan"])
def test_a_chance_of_error_that_is_none_is_refused(read: Read, alpha: str) -> None:
    with pytest.raises(UsageError, match="takes a chance above 0"):
        read(target="tiny_llama", candidate="mine", alpha=alpha)


@pytest.mark.parametrize(
    ("options", "looks"),
    [({}, True), ({"depth": "quick"}, False), ({"depth": "quick", "insight": "yes"}, True), ({"insight": "no"}, False)],
)
def test_a_full_gate_looks_inside_and_a_quick_one_when_asked(read: Read, options: dict[str, str], looks: bool) -> None:
    assert read(target="tiny_llama", candidate="mine", **options).looks_inside is looks


def test_a_server_that_already_runs_is_not_looked_into(read: Read) -> None:
    assert not read(target="tiny_llama", url="http://127.0.0.1:8000", insight="yes").looks_inside


def test_an_insight_is_asked_for_by_yes_or_no(read: Read) -> None:
    with pytest.raises(UsageError, match="takes yes or no"):
        read(target="tiny_llama", candidate="mine", insight="maybe")


@pytest.mark.parametrize(
    "options",
    [
        {"candidate": "mine"},
        {"candidate": "with space", "baseline": "starter", "depth": "quick", "profile": "tiny"},
        {"url": "http://127.0.0.1:8000", "depth": "quick"},
        {"candidate": "mine", "baseline": "starter", "alpha": "0.001"},
        {"candidate": "mine", "depth": "quick", "insight": "yes"},
    ],
)
def test_the_command_does_the_same_again(read: Read, tmp_path: Path, options: dict[str, str]) -> None:
    (tmp_path / "with space").mkdir()
    found = read(target="tiny_llama", **options)
    words = shlex.split(found.command)
    assert words[0] == "pytest"
    again = {name.removeprefix("--vibeserve-"): value for name, value in zip(words[1::2], words[2::2], strict=True)}
    assert read(**again) == found


def test_more_sampling_is_a_small_whole_number_and_part_of_the_command(read: Read) -> None:
    assert read(target="tiny_llama", candidate="mine").sampling == 1
    found = read(target="tiny_llama", candidate="mine", sampling="4")
    assert found.sampling == 4
    assert "--vibeserve-sampling 4" in found.command
    for wrong in ("0", "17", "many", "2.5"):
        with pytest.raises(UsageError, match="--vibeserve-sampling takes a whole number from 1 to 16"):
            read(target="tiny_llama", candidate="mine", sampling=wrong)


def test_the_command_finds_a_target_of_another_repository_from_anywhere(read: Read, root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "repository" / "targets" / "tiny_llama"
    shutil.copytree(root / "targets" / "tiny_llama", elsewhere)
    assert f"--vibeserve-target {elsewhere} " in read(target=str(elsewhere), candidate="mine").command
    assert "--vibeserve-target tiny_llama " in read(target="tiny_llama", candidate="mine").command
