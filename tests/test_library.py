"""Names of targets and skills: one rule, and an error that offers the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import entries, find, imported, nearest, own, shelves


def shelved(shelf: Path, name: str) -> Path:
    folder = shelf / name
    folder.mkdir(parents=True)
    (folder / "target.toml").write_text("schema = 1\n")
    return folder.resolve()


def test_the_folder_where_one_stands_hides_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = shelved(tmp_path / "targets", "tiny_llama")
    monkeypatch.chdir(tmp_path)
    assert find("targets", "tiny_llama", "target.toml") == own


def test_a_shipped_target_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("targets", "tiny_llama", "target.toml").name == "tiny_llama"


@pytest.mark.parametrize("spelling", ["{}", "./mine", "../{name}/mine", "mine/"])
def test_a_path_is_taken_as_it_is(spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shelved(tmp_path, "mine")
    monkeypatch.chdir(tmp_path)
    given_path = str(folder) if spelling == "{}" else spelling.format(name=tmp_path.name)
    assert find("targets", given_path, "target.toml") == folder


def test_the_folder_one_stands_in_is_a_path_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shelved(tmp_path, "mine")
    monkeypatch.chdir(folder)
    assert find("targets", ".", "target.toml") == folder


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no target is called 'tinyllama'; did you mean tiny_llama"):
        find("targets", "tinyllama", "target.toml")


def test_a_name_like_nothing_known_is_answered_with_all_names() -> None:
    assert nearest("zzz", ["b", "a"]) == "known are: a, b"
    assert nearest("zzz", []) == "known are: none"


def test_a_path_without_the_marker_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no target\.toml; give the folder of a target, or one of: .*tiny_llama"):
        find("targets", str(tmp_path), "target.toml")


def test_a_path_to_nothing_says_that_it_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        find("targets", str(tmp_path / "absent"), "target.toml")


def test_a_folder_without_the_marker_is_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "targets" / "half_done").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "half_done" not in entries("targets", "target.toml")
    assert shelves("targets")[0] == tmp_path / "targets"


@given(st.sets(st.from_regex(r"[a-z][a-z0-9_]{2,12}", fullmatch=True), min_size=1), st.data())
def test_a_name_with_one_letter_too_many_is_recognised(names: set[str], data: st.DataObject) -> None:
    meant = data.draw(st.sampled_from(sorted(names)))
    told = nearest(meant + "x", names)
    assert told.startswith("did you mean ")
    assert all(name in told for name in names)


def test_a_targets_own_file_becomes_a_module_each_time_anew(tmp_path: Path) -> None:
    path = tmp_path / "reference.py"
    path.write_text("SIZE = 3\n")
    assert imported(path).SIZE == 3
    path.write_text("SIZE = 44\n")
    assert imported(path).SIZE == 44


def test_a_file_that_needs_what_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "workload.py").write_text("import no_such_package_anywhere\n")
    with pytest.raises(UsageError, match=r"workload\.py: No module named 'no_such_package_anywhere'; install it"):
        imported(tmp_path / "workload.py", "install it")


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("SIZE = 3\ndef shaped(:\n", r"workload\.py:2: SyntaxError: "),
        ("SIZE = 3\nassert SIZE == 4, 'no'\n", r"workload\.py:2: AssertionError: no; mend it there"),
        ("raise SystemExit(0)\n", r"workload\.py:1: SystemExit: 0"),
    ],
)
def test_a_file_that_cannot_run_says_where_to_mend_it(program: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "workload.py").write_text(program)
    with pytest.raises(UsageError, match=told):
        imported(tmp_path / "workload.py")


def test_what_may_be_the_machines_is_not_told_as_the_users(tmp_path: Path) -> None:
    (tmp_path / "reference.py").write_text("def load():\n    raise RuntimeError('out of memory')\n")
    with pytest.raises(RuntimeError, match="out of memory"):
        own(tmp_path / "reference.py", imported(tmp_path / "reference.py").load)
