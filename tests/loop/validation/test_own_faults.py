"""A target's own zoo is recipes and edits of its starter: one candidate each, enough of both kinds everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import entries
from pytest_vibeserve.target import TARGET_FILE
from vibeserve_loop.commands.scaffold import scaffold
from vibeserve_loop.validation.own_faults import ZOO, own_faults, read_zoo, sources

ZOOS = sorted(folder for folder in entries("targets", TARGET_FILE).values() if (folder / ZOO).is_file())
MEMBER = '[[member]]\nname = "{}"\nwords = "does something"\ncheck = "{}"\n[[member.edit]]\n'


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    folder = tmp_path / "lab" / "starter"
    folder.mkdir(parents=True)
    (folder / "server.py").write_text("first = 1\nsecond = 2\n")
    return folder


def zoo(starter: Path, text: str) -> None:
    (starter.parent / ZOO).write_text(text)


def test_edits_make_candidates_and_leave_the_starter_alone(starter: Path, tmp_path: Path) -> None:
    edits = MEMBER.format("wrong", "audit.x") + 'file = "server.py"\nbefore = "first = 1"\nafter = "first = 3"\n'
    edits += '[[member.edit]]\nfile = "server.py"\nafter = "third = 4\\n"\n'
    edits += MEMBER.format("right", "") + 'file = "new.py"\nafter = "more = 1\\n"\n'
    zoo(starter, edits)
    wrong, right = own_faults(starter, tmp_path / "made")
    assert (wrong.name, wrong.honest, wrong.kind.check, wrong.kind.words) == (
        "wrong",
        False,
        ("audit.x",),
        "does something",
    )
    assert (right.name, right.honest) == ("right", True)
    assert (wrong.folder / "server.py").read_text() == "first = 3\nsecond = 2\nthird = 4\n"
    assert (right.folder / "new.py").read_text() == "more = 1\n"
    assert (starter / "server.py").read_text() == "first = 1\nsecond = 2\n"
    assert "the check audit.x should see it" in wrong.kind.remedy


def test_an_edit_that_does_not_fit_is_the_users_to_mend(starter: Path, tmp_path: Path) -> None:
    zoo(starter, MEMBER.format("wrong", "audit") + 'file = "server.py"\nbefore = "= "\nafter = ""\n')
    with pytest.raises(UsageError, match=r"server\.py holds 2 times, not once: '= '"):
        own_faults(starter, tmp_path / "made")
    zoo(starter, MEMBER.format("lost", "audit") + 'file = "sever.py"\nbefore = "= "\nafter = ""\n')
    with pytest.raises(UsageError, match=r"lost: there is no sever\.py to edit; did you mean server\.py"):
        own_faults(starter, tmp_path / "lost")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[member]]\nname = "x"\n', r"member\.0\.words is missing: what a server"),
        ('[[member]]\nname = "x"\nword = "does"\n', r"member\.0\.word is no field; did you mean words"),
        (
            '[[member]]\nname = "x"\nwords = "does"\n[[member]]\nname = "x"\nwords = "does"\n',
            "two members are called x",
        ),
        ("[[member]\n", "not valid TOML"),
    ],
)
def test_a_zoo_that_is_stated_wrongly_is_told_in_one_line(text: str, told: str, starter: Path, tmp_path: Path) -> None:
    zoo(starter, text)
    with pytest.raises(UsageError, match=told) as raised:
        own_faults(starter, tmp_path / "made")
    assert "\n" not in str(raised.value)


def test_a_member_may_be_files_recipes_and_any_of_several_checks(starter: Path, tmp_path: Path) -> None:
    laid = starter.parent / "zoo" / "replaced"
    laid.mkdir(parents=True)
    (laid / "server.py").write_text("other = 1\n")
    stated = '[[member]]\nname = "wrong"\nwords = "does something"\ncheck = ["audit.", "sessions."]\ngroup = "E4"\n'
    stated += 'folder = "zoo/replaced"\n[[member.edit]]\nfile = "server.py"\nbefore = "other"\nafter = "another"\n'
    zoo(starter, stated)
    (wrong,) = own_faults(starter, tmp_path / "made")
    assert (wrong.folder / "server.py").read_text() == "another = 1\n"
    assert wrong.kind.noticed_by("sessions.cuts")
    assert wrong.kind.noticed_by("c20.audit.request")
    assert not wrong.kind.noticed_by("interface.stop")
    assert "the check audit. or sessions. should see it" in wrong.kind.remedy
    assert laid in sources(starter)


def test_a_recipe_or_folder_that_does_not_fit_is_the_users_to_mend(starter: Path, tmp_path: Path) -> None:
    stated = '[[member]]\nname = "right"\nwords = "is quicker"\n'
    zoo(starter, stated + 'recipes = ["static-kv-decode"]\n')
    with pytest.raises(UsageError, match=r"zoo\.toml: right: the recipe static-kv-decode does not fit"):
        own_faults(starter, tmp_path / "one")
    zoo(starter, stated + 'recipes = ["static-kv-decoed"]\n')
    with pytest.raises(UsageError, match="did you mean static-kv-decode"):
        own_faults(starter, tmp_path / "two")
    zoo(starter, stated + 'folder = "zoo/nowhere"\n')
    with pytest.raises(UsageError, match=r"folder: .*zoo/nowhere is not there"):
        own_faults(starter, tmp_path / "three")


def test_a_target_without_a_zoo_has_no_candidates_of_its_own(starter: Path, tmp_path: Path) -> None:
    assert own_faults(starter, tmp_path / "made") == []


def test_a_target_begun_as_a_copy_has_the_zoo_of_what_it_is_a_copy_of(tmp_path: Path) -> None:
    copy = scaffold("my_prefixes", tmp_path, like="olmo_hybrid_prefix_cache")
    names = [fault.name for fault in own_faults(copy / "starter", tmp_path / "made")]
    assert "state_of_a_later_token" in names


@pytest.mark.parametrize("folder", ZOOS, ids=lambda path: path.name)
def test_the_zoo_of_a_scenario_fits_its_starter_and_holds_enough(folder: Path, tmp_path: Path) -> None:
    faults = own_faults(folder / "starter", tmp_path)
    assert len({fault.name for fault in faults}) == len(faults) == len(read_zoo(folder / ZOO))
    assert sum(not fault.honest for fault in faults) >= 5
    assert sum(fault.honest for fault in faults) >= 3
    for fault in faults:
        for path in fault.folder.rglob("*.py"):
            compile(path.read_text(encoding="utf-8"), str(path), "exec")
