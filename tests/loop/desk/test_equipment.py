from __future__ import annotations

from pathlib import Path

import pytest
from loop_lab import Lab

from pytest_vibeserve.target import load_target
from vibeserve_loop.desk.equipment import NAMES, equipped, skills_for


def _skill(lab: Lab, name: str, facts: str = "") -> None:
    folder = lab.folder / "skills" / name
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: For tests.\n{facts}---\nWords.\n")


@pytest.fixture
def place(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(lab.folder)
    _skill(lab, "everywhere")
    _skill(lab, "here", 'metadata:\n  modality: "text"\n  backend: "cpu metal"\n')
    _skill(lab, "elsewhere", 'metadata:\n  modality: "speech"\n')
    folder = lab.folder / "workspace"
    folder.mkdir()
    return folder


def test_the_skills_that_fit_the_target_lie_flat_where_each_agent_looks(lab: Lab, place: Path) -> None:
    target = load_target(str(lab.target))
    with equipped(place, target) as names:
        assert {"everywhere", "here"} <= set(names)
        assert "elsewhere" not in names
        assert (place / ".agents" / "skills" / "here" / "SKILL.md").read_text().endswith("Words.\n")
        assert (place / ".claude" / "skills").is_symlink()
        assert (place / ".claude" / "skills" / "here" / "SKILL.md").is_file()
        assert (place / "CLAUDE.md").read_text() == (place / "GEMINI.md").read_text() == "@AGENTS.md\n"
    assert list(place.iterdir()) == []


def test_what_a_candidate_has_in_these_places_comes_back(lab: Lab, place: Path) -> None:
    (place / "AGENTS.md").write_text("mine")
    (place / ".claude").mkdir()
    (place / ".claude" / "own").write_text("mine too")
    with equipped(place, load_target(str(lab.target))):
        assert (place / "AGENTS.md").read_text() != "mine"
        assert not (place / ".claude" / "own").exists()
    assert (place / "AGENTS.md").read_text() == "mine"
    assert sorted(path.name for path in place.iterdir()) == [".claude", "AGENTS.md"]
    assert (place / ".claude" / "own").read_text() == "mine too"


def test_it_goes_away_even_when_the_agent_fails_or_took_it_away(lab: Lab, place: Path) -> None:
    target = load_target(str(lab.target))

    def session() -> None:
        with equipped(place, target):
            (place / "CLAUDE.md").unlink()
            raise RuntimeError("the agent died")

    with pytest.raises(RuntimeError, match="died"):
        session()
    assert not any((place / name).exists() for name in NAMES)


def test_a_skill_without_a_kind_fits_every_target(lab: Lab, place: Path) -> None:
    assert {"everywhere", "here"} <= set(skills_for(load_target(str(lab.target))))
