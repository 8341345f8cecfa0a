from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vibeserve_loop.desk.growth import DEEPEST, LARGEST_TREE, overgrown

CHECKOUT = Path(__file__).resolve().parents[3]
SHUT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:4]
from vibeserve_loop.desk.growth import overgrown
from vibeserve_loop.workspace import Workspace

folder = Path(sys.argv[1])
starter, workspace = folder / "starter", Workspace(folder / "workspace")
(starter / "part").mkdir(parents=True)
(starter / "part" / "code").write_text("1")
first = workspace.begin(starter, 0.0)
for name in ("new", "part"):
    (workspace.folder / name).mkdir(exist_ok=True)
    (workspace.folder / name / "more").write_text("2")
    (workspace.folder / name).chmod(0)
    print(overgrown(workspace.folder))
    workspace.checkout(first.sha)
    print(sorted(str(path.relative_to(workspace.folder)) for path in workspace.folder.glob("[!.]*/*")))
"""


def _large(folder: Path) -> None:
    (folder / "large").touch()
    os.truncate(folder / "large", LARGEST_TREE)


def _deep(folder: Path) -> None:
    subprocess.run(["mkdir", "-p", "/".join("a" * (DEEPEST + 2))], cwd=folder, check=True)


@pytest.mark.parametrize(("left", "said"), [(_large, "holds 512 MiB or more"), (_deep, "64 deep")])
def test_what_is_too_large_or_too_deep_is_told_without_a_look_inside(
    tmp_path: Path, left: Callable[[Path], None], said: str
) -> None:
    (tmp_path / "code").write_text("1")
    (tmp_path / ".git").mkdir()
    left(tmp_path / ".git")
    assert overgrown(tmp_path) == ""
    left(tmp_path)
    assert said in overgrown(tmp_path)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap to be nobody in particular")
def test_what_nobody_may_enter_is_told_and_swept_away(tmp_path: Path) -> None:
    walls = ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"]
    words = [sys.executable, "-c", SHUT, str(tmp_path), str(CHECKOUT), str(CHECKOUT / "loop")]
    done = subprocess.run([*walls, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    refused, swept = done.stdout.splitlines()[0::2], done.stdout.splitlines()[1::2]
    assert refused == [
        f"the workspace holds a folder that cannot be read (Permission denied): {name}" for name in ("new", "part")
    ]
    assert swept == ["['part/code']"] * 2
