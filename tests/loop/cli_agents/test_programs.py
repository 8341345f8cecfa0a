from __future__ import annotations

from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.cli_agents.choices import choice_of, ready
from vibeserve_loop.cli_agents.programs import PROGRAMS, Wish, environment_for


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_users_own_home_is_used_and_nothing_is_written_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, folder = tmp_path / "user", tmp_path / "run"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    found = environment_for(PROGRAMS[name], Wish("", "", folder, user=True))
    assert found["HOME"] == str(home)
    assert [*home.rglob("*"), *folder.rglob("*")] == []
    assert environment_for(PROGRAMS[name], Wish("", "", folder))["HOME"] == str(folder)


@pytest.mark.parametrize("name", ["codex", "gemini", "opencode"])
def test_settings_do_not_follow_a_link_that_a_program_left(name: str, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("the user's")
    for folder in (".codex", ".gemini"):
        (home / folder).symlink_to(elsewhere)
    (home / "opencode.json").symlink_to(elsewhere / "kept")
    environment_for(PROGRAMS[name], Wish("model", "", home))
    assert [path.name for path in elsewhere.iterdir()] == ["kept"]
    assert (elsewhere / "kept").read_text() == "the user's"


def test_a_program_gets_its_providers_key_and_those_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OTHER_API_KEY"):
        monkeypatch.setenv(name, f"value of {name}")
    monkeypatch.delenv("LAB_API_KEY", raising=False)
    given = [choice_of("claude", {}), choice_of("acp", {"command": "sh"})]
    given += [choice_of("acp", {"command": "sh", "keys": "OTHER_API_KEY, OPENAI_API_KEY"})]
    found = [environment_for(choice.program, Wish("", "", tmp_path)) for choice in given]
    keys = [sorted(name for name in variables if name.endswith("_KEY")) for variables in found]
    assert keys == [["ANTHROPIC_API_KEY"], [], ["OPENAI_API_KEY", "OTHER_API_KEY"]]
    ready(given[2])
    with pytest.raises(UsageError, match="LAB_API_KEY is not set"):
        ready(choice_of("acp", {"command": "sh", "keys": "LAB_API_KEY"}))


@pytest.mark.parametrize("name", ["codex", "opencode"])
def test_a_program_that_is_settled_by_files_takes_no_model_beside_the_users_settings(name: str) -> None:
    with pytest.raises(UsageError, match="own settings alone"):
        choice_of(name, {"home": "user", "model": "some-model"})
