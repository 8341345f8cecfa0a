from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vibeserve_loop.git_objects import GitObjects

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0\n"), min_size=1, max_size=8)
PATHS = st.lists(
    NAMES.filter(lambda name: name not in (".", "..") and not name.startswith(".git")), min_size=1, max_size=3
)
FILES = st.dictionaries(PATHS.map("/".join), st.tuples(st.binary(max_size=60), st.booleans()), max_size=8)
SIGNATURE = "somebody <some@body> 1700000000 +0000"


def _git(folder: Path, *words: str, **more: str) -> str:
    environment = {
        **os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **more,
    }  # fmt: skip
    command = ["git", "-c", "core.autocrlf=false", "-c", "core.excludesFile=/dev/null", "-C", str(folder), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip("\n")


def _repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--template=", "--initial-branch=main")
    return folder


def _write(folder: Path, files: dict[str, tuple[bytes, bool]]) -> None:
    for name, (content, program) in files.items():
        path = folder / name
        if any(parent.is_file() for parent in path.parents) or path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if program else 0o644)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES)
def test_trees_and_commits_are_those_that_git_makes(tmp_path_factory: pytest.TempPathFactory, files: dict) -> None:
    folder = _repository(tmp_path_factory.mktemp("git") / "work")
    _write(folder, files)
    if files:
        (folder / "link").symlink_to("nowhere")
    objects = GitObjects(folder / ".git")
    tree = objects.snapshot(folder)
    _git(folder, "add", "-A")
    assert tree == _git(folder, "write-tree")
    dates = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
             (("NAME", "somebody"), ("EMAIL", "some@body"), ("DATE", "1700000000 +0000"))}  # fmt: skip
    assert tree is not None
    expected = _git(folder, "commit-tree", tree, "-m", "one line", **dates)
    assert objects.commit(tree, None, SIGNATURE, "one line") == expected
    assert objects.plain_tree(expected) == tree


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=FILES, after=FILES)
def test_a_folder_is_brought_back_whatever_became_of_it(
    tmp_path_factory: pytest.TempPathFactory, before: dict, after: dict
) -> None:
    folder = _repository(tmp_path_factory.mktemp("git") / "work")
    _write(folder, before)
    objects = GitObjects(folder / ".git")
    tree = objects.snapshot(folder)
    assert tree is not None
    _write(folder, after)
    objects.restore(tree, folder)
    assert objects.snapshot(folder) == tree
    assert sorted(p.name for p in folder.iterdir() if p.name != ".git") == sorted(
        {n.split("/")[0] for n in _kept(tree, folder)}
    )


def _kept(tree: str, folder: Path) -> list[str]:
    """Every name as it is: text mode would take a carriage return in one for the end of a line."""
    listed = ["git", "-C", str(folder), "-c", "core.quotePath=false", "ls-tree", "-r", "-z", "--name-only", tree]
    raw = subprocess.run(listed, capture_output=True, check=True).stdout
    return [os.fsdecode(name) for name in raw.split(b"\0") if name]


def test_restoring_never_writes_through_a_link(tmp_path: Path) -> None:
    folder, outside = _repository(tmp_path / "work"), tmp_path / "outside"
    outside.mkdir()
    (folder / "code").mkdir()
    (folder / "code" / "a").write_text("mine")
    objects = GitObjects(folder / ".git")
    tree = objects.snapshot(folder)
    assert tree is not None
    (folder / "code" / "a").unlink()
    (folder / "code").rmdir()
    (folder / "code").symlink_to(outside)
    objects.restore(tree, folder)
    assert (folder / "code" / "a").read_text() == "mine"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", "deep/.gitignore", "nested/.git"])
def test_what_only_git_can_decide_is_left_to_git(tmp_path: Path, name: str) -> None:
    folder = _repository(tmp_path / "work")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("*.so\n")
    assert GitObjects(folder / ".git").snapshot(folder) is None


def test_packed_objects_are_left_to_git(tmp_path: Path) -> None:
    folder = _repository(tmp_path / "work")
    (folder / "a").write_text("one")
    objects = GitObjects(folder / ".git")
    tree = objects.snapshot(folder)
    assert tree is not None
    sha = objects.commit(tree, None, SIGNATURE, "one")
    objects.point("refs/heads/main", sha)
    assert _git(folder, "rev-parse", "main") == sha
    assert _git(folder, "fsck", "--strict") == ""
    _git(folder, "gc", "--quiet", "--prune=now")
    assert GitObjects(folder / ".git").plain_tree(sha) is None
