from __future__ import annotations

import re
from pathlib import Path

import pytest
from zoo import CORE, STARTER, Member, cheats, honest, members

from pytest_vibeserve.candidate import load_candidate

ROOT = Path(__file__).resolve().parents[1]
CATALOGUE = {"A": 15, "B": 12, "C": 12, "D": 25, "E": 6}


def catalogued(group: str) -> bool:
    found = re.fullmatch(r"([A-E])(\d+)", group)
    return found is not None and 1 <= int(found[2]) <= CATALOGUE[found[1]]


def test_there_are_enough_of_both_kinds_over_all_groups() -> None:
    assert len(cheats()) >= 50
    assert len(honest()) >= 12
    assert {member.group[0] for member in cheats().values()} == set("ABCDE")


def test_every_cheat_says_which_it_is_and_what_must_see_it() -> None:
    assert [name for name, member in cheats().items() if not catalogued(member.group) or not member.words] == []
    assert [name for name, member in honest().items() if member.group or not name.startswith("honest_")] == []


def test_every_member_fits_on_a_screen() -> None:
    lengths = {name: len((ROOT / "tests" / "servers" / f"{name}.py").read_text().splitlines()) for name in members()}
    assert {name: length for name, length in lengths.items() if length > 80} == {}


@pytest.mark.parametrize("name", ["memoised_by_likeness", "honest_numpy", "honest_eager_attention"])
def test_a_member_becomes_a_candidate_of_its_own(name: str, tmp_path: Path) -> None:
    members()[name].make(tmp_path / "made")
    candidate = load_candidate(tmp_path / "made")
    assert (tmp_path / "made" / candidate.serve.command[1]).is_file()
    assert (tmp_path / "made" / "protocol.py").read_text() == (STARTER / "protocol.py").read_text()


def test_a_member_is_seen_by_the_checks_it_names() -> None:
    member = Member("x", "words", "A1", ("audit.", "stream."), "quick", False)
    assert member.seen_by("audit.request")
    assert not member.seen_by("interface.stop")
    assert not Member("x", "words", "", (), "quick", False).seen_by("audit.request")
    assert member.timed
    assert not member.honest


def test_the_table_names_every_member() -> None:
    table = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert [name for name in members() if f"| {name} |" not in table] == []
    assert [
        name for name in re.findall(r"^\| (\w+) \|", table, re.MULTILINE) if name not in {*members(), "server"}
    ] == []


def test_the_part_that_every_run_judges_covers_all_groups() -> None:
    assert set(members()) >= CORE
    assert {members()[name].group[:1] for name in CORE} == {"", *CATALOGUE}
