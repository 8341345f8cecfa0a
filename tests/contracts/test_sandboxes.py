from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from vibeserve_loop import resolve
from vibeserve_loop.roles import Job, Sandbox


@pytest.fixture(params=resolve.names("sandboxes"))
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    if request.param == "modal":
        pytest.skip("it would use a real account; a double of it is held to the same in tests/loop/test_walls.py")
    made = resolve.find_class("sandboxes", request.param)()
    assert isinstance(made, Sandbox)
    if obstacle := made.obstacle():
        pytest.skip(obstacle)
    return made


def _python(code: str, folder: Path, **more: object) -> Job:
    return Job((sys.executable, "-I", "-B", "-c", code), writable=folder, **more)  # type: ignore[arg-type]


def test_a_command_works_in_its_folder_and_its_words_come_back(sandbox: Sandbox, tmp_path: Path) -> None:
    code = "import sys; open('made', 'w').write('x'); print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = sandbox.run(_python(code, tmp_path))
    assert (done.code, done.output, done.errors) == (3, "out\n", "err\n")
    assert (tmp_path / "made").read_text() == "x"


def test_what_is_readable_can_be_read(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "given").write_text("knowledge")
    code = f"print(open({str(tmp_path / 'given')!r}).read())"
    done = sandbox.run(_python(code, tmp_path / "work", readable=(tmp_path / "given",)))
    assert done.output == "knowledge\n"


def test_no_variable_of_the_user_reaches_the_command(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    done = sandbox.run(_python("import os; print('SECRET_TOKEN' in os.environ)", tmp_path))
    assert done.output == "False\n"


def test_past_its_limit_a_command_is_gone_with_its_children(sandbox: Sandbox, tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    child = f"import time\nwhile True: open({str(beat)!r}, 'a').write('.'); time.sleep(0.05)"
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True); "
    )
    done = sandbox.run(_python(code + "time.sleep(60)", tmp_path, timeout_s=1.0))
    assert done.timed_out
    beats = beat.read_text()
    time.sleep(0.3)
    assert beats
    assert beat.read_text() == beats


def test_bubblewrap_lets_nothing_else_be_written_or_reached(tmp_path: Path) -> None:
    sandbox = resolve.find_class("sandboxes", "bubblewrap")()
    if obstacle := sandbox.obstacle():
        pytest.skip(obstacle)
    work, skill = tmp_path / "work", tmp_path / "skill"
    for folder in (work / ".git", skill):
        folder.mkdir(parents=True)
    (tmp_path / "private").write_text("mine")
    code = f"""
import pathlib, socket, subprocess
for path in ({str(skill / "x")!r}, {str(work / ".git" / "config")!r}, "/etc/x", "/usr/x"):
    try:
        pathlib.Path(path).write_text("x")
        print("wrote", path)
    except OSError:
        pass
print(pathlib.Path({str(tmp_path / "private")!r}).exists())
try:
    socket.create_connection(("1.1.1.1", 53), 1)
    print("reached")
except OSError:
    print("cut off")
"""
    done = sandbox.run(_python(code, work, readable=(skill,)))
    assert done.output == "False\ncut off\n"
