"""A new target begins as a copy of one that works, wherever either lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import entries
from pytest_vibeserve.target import TARGET_FILE, load_target
from vibeserve_loop.commands.scaffold import TEMPLATE, first_profile, scaffold

TARGETS = sorted(entries("targets", TARGET_FILE))


@pytest.mark.parametrize("like", TARGETS)
def test_every_target_is_a_template(like: str, tmp_path: Path) -> None:
    folder = scaffold("my_own", tmp_path, like)
    target = load_target(str(folder), "tiny")
    assert (target.name, target.folder) == ("my_own", folder.resolve())
    assert (target.starter_folder / "candidate.toml").is_file()
    written = [path for path in folder.rglob("*") if path.suffix in (".toml", ".md", ".py")]
    assert [path.name for path in written if like in path.read_text(encoding="utf-8")] == []
    assert not (folder / "README.md").exists()
    assert first_profile(folder) == ("full" if like == TEMPLATE else "tiny")


def test_a_target_of_another_repository_is_a_template_too(tmp_path: Path) -> None:
    elsewhere = scaffold("their_target", tmp_path / "their_repository")
    folder = scaffold("my_own", tmp_path / "mine", str(elsewhere))
    assert load_target(str(folder)).name == "my_own"
    assert "their_target" not in (folder / TARGET_FILE).read_text(encoding="utf-8")


def test_a_template_whose_name_is_a_word_keeps_its_other_words(tmp_path: Path) -> None:
    elsewhere = scaffold("chat", tmp_path / "theirs", "llama_mlx_json")
    folder = scaffold("my_own", tmp_path / "mine", str(elsewhere))
    target = load_target(str(folder), "tiny")
    assert (target.name, target.mix[0].name, target.chat.constrained) == ("my_own", "chat", 0.8)
    assert (folder / "starter" / "chat.py").read_text() == (elsewhere / "starter" / "chat.py").read_text()
    assert (folder / "OBJECTIVE.md").read_text().startswith("# my_own: JSON by schema")


def test_a_template_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean tiny_llama"):
        scaffold("my_own", tmp_path, "tiny_lama")
    assert not (tmp_path / "my_own").exists()


def test_the_smallest_is_the_template_unless_another_is_named(tmp_path: Path) -> None:
    assert (scaffold("my_own", tmp_path) / "target.toml").read_text().count("[[load]]") == (
        Path(__file__).resolve().parents[3] / "targets" / TEMPLATE / "target.toml"
    ).read_text().count("[[load]]")
