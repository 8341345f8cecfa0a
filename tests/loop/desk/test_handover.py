from __future__ import annotations

from pathlib import Path

import pytest
from round_lab import a_round, starter, worked

from pytest_vibeserve.errors import InfrastructureError, UsageError
from vibeserve_loop.desk.handover import Handover
from vibeserve_loop.records import Task

WORK = Task(kind="work", hypothesis="it gets quicker")
ORDER = a_round(1, Task(kind="order"), ruling="accept")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    found = tmp_path / "workspace"
    (found / ".git").mkdir(parents=True)
    (found / ".git" / "HEAD").write_text("ref")
    (found / "speed").write_text("100")
    return found


def _edited(workspace: Path) -> None:
    (workspace / "speed").write_text("300")
    (workspace / "AGENTS.md").write_text("laid out for the agent")
    (workspace / "new").mkdir()
    (workspace / "new" / "link").symlink_to("../speed")


def _checked_out(workspace: Path) -> None:
    """What the loop does before a session: the base's code and nothing else."""
    for name in ("AGENTS.md", "new/link"):
        (workspace / name).unlink(missing_ok=True)
    if (workspace / "new").exists():
        (workspace / "new").rmdir()
    (workspace / "speed").write_text("100")


@pytest.mark.parametrize("since", [(), (ORDER,)])
def test_edits_come_back_for_the_same_work_and_nothing_else_of_the_folder(workspace: Path, since: tuple) -> None:
    handover, rounds = Handover(workspace), (starter(),)
    assert not handover.put_aside()
    handover.offer(1, WORK, "words", rounds)
    _edited(workspace)
    assert Handover(workspace).put_aside()
    assert not Handover(workspace).put_aside()
    _checked_out(workspace)
    with pytest.raises(UsageError, match="nothing waits"):
        handover.submit("done")
    handover.offer(1 + len(since), WORK, "words", (*rounds, *since))
    assert (workspace / "speed").read_text() == "300"
    assert (workspace / "new" / "link").readlink() == Path("../speed")
    assert not (workspace / "AGENTS.md").exists()
    assert (workspace / ".git" / "HEAD").read_text() == "ref"


@pytest.mark.parametrize(("task", "since"), [(WORK, (worked(1, 1.5),)), (Task(kind="work", base=1), (ORDER,))])
def test_edits_for_other_work_are_kept_where_they_can_be_found(workspace: Path, task: Task, since: tuple) -> None:
    handover = Handover(workspace)
    handover.offer(1, WORK, "words", (starter(),))
    _edited(workspace)
    handover.put_aside()
    _checked_out(workspace)
    handover.offer(2, task, "words", (starter(), *since))
    assert (workspace / "speed").read_text() == "100"
    assert (handover.left(1) / "speed").read_text() == "300"


def test_what_was_handed_in_is_as_it_was_then_and_holds_for_that_work_alone(workspace: Path) -> None:
    handover = Handover(workspace)
    handover.offer(1, WORK, "words", (starter(),))
    _edited(workspace)
    handover.submit("quicker")
    (workspace / "speed").write_text("spoiled")
    handover.take()
    assert (workspace / "speed").read_text() == "300"
    handover.offer(2, WORK, "words", (starter(), ORDER))
    found = handover.submission()
    assert found is not None
    assert found.summary == "quicker"
    handover.offer(3, WORK, "words", (starter(), ORDER, worked(2, 0.9)))
    assert handover.submission() is None


def test_a_damaged_file_is_said(workspace: Path) -> None:
    handover = Handover(workspace)
    handover.offer(1, WORK, "words", ())
    (handover.folder / "waiting.json").write_text("{")
    with pytest.raises(InfrastructureError, match="is damaged"):
        handover.waiting()


def _code(folder: Path) -> dict[str, str]:
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): (folder / path).read_text() for path in paths if path.parts[0] != ".git"}


@pytest.mark.parametrize("spelt", [".", "../workspace", "link"])
def test_the_workspace_itself_can_be_named_as_what_is_handed_in(
    workspace: Path, spelt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(workspace)
    monkeypatch.chdir(tmp_path if spelt == "link" else workspace)
    handover = Handover(workspace)
    handover.offer(1, WORK, "words", (starter(),))
    _edited(workspace)
    before = _code(workspace)
    handover.submit("quicker", source=Path(spelt))
    assert _code(workspace) == before
    assert _code(handover.folder / "code") == {"speed": "300"}


@pytest.mark.parametrize("around", [False, True])
def test_a_folder_in_the_workspace_or_around_it_is_refused_and_nothing_is_lost(workspace: Path, around: bool) -> None:
    handover = Handover(workspace)
    handover.offer(1, WORK, "words", (starter(),))
    _edited(workspace)
    before = _code(workspace)
    with pytest.raises(UsageError, match="lie one in the other: hand in the workspace as it is, without --from"):
        handover.submit("quicker", source=workspace.parent if around else workspace / "new")
    assert _code(workspace) == before
    assert handover.submission() is None


def test_another_folder_is_handed_in_whole_and_not_at_all_without_a_summary(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "speed").write_text("500")
    handover = Handover(workspace)
    handover.offer(1, WORK, "words", (starter(),))
    _edited(workspace)
    with pytest.raises(UsageError, match="say in one sentence"):
        handover.submit(" ", source=tmp_path / "other")
    assert (workspace / "speed").read_text() == "300"
    handover.submit("rewritten", source=tmp_path / "other")
    assert _code(handover.folder / "code") == {"speed": "500"}
    assert _code(workspace) == {"speed": "500", "AGENTS.md": "laid out for the agent"}
