"""What every sandbox promises, held against each that works here; `none` promises only to end what it runs."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import modal_double
import pytest
from docker_lab import engine

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop import resolve
from vibeserve_loop.machine.processes import KEPT_BYTES
from vibeserve_loop.roles import Job, Sandbox
from vibeserve_loop.sandboxes.modal import ModalSandbox

NAMES = tuple(resolve.names("sandboxes"))
WALLED = tuple(name for name in NAMES if name != "none")
HERE = tuple(name for name in WALLED if name != "modal")
"""Sandboxes on this machine: a remote one reaches public names only, and its processes are not seen from here."""


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    with engine() as address:
        yield address


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    if request.param == "docker":
        address = request.getfixturevalue("docker_host")
        if address:
            monkeypatch.setenv("DOCKER_HOST", address)
    made = (
        ModalSandbox("modal_double") if request.param == "modal" else resolve.find_class("sandboxes", request.param)()
    )
    assert isinstance(made, Sandbox)
    if obstacle := made.obstacle():
        pytest.skip(obstacle)
    yield made
    assert all(one.terminated for one in modal_double.ALIVE)


def every(names: tuple[str, ...]) -> pytest.MarkDecorator:
    # An engine of one's own takes a while to start.
    marks = {"docker": [pytest.mark.slow]}
    found = [pytest.param(name, marks=marks.get(name, [])) for name in names]
    return pytest.mark.parametrize("sandbox", found, indirect=True)


def _python(code: str, folder: Path, **more: object) -> Job:
    return Job((sys.executable, "-I", "-B", "-c", code), folder, **more)  # type: ignore[arg-type]


@every(NAMES)
def test_a_command_works_in_its_folder_and_its_words_come_back(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("before")
    code = "import os, sys; print(open('here').read()); open('made', 'w').write('x'); os.remove('here'); sys.exit(3)"
    done = sandbox.run(_python(code, tmp_path))
    assert (done.code, done.output, done.timed_out) == (3, "before\n", False), done.errors
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@every(WALLED)
def test_what_is_readable_is_read_and_never_written(sandbox: Sandbox, tmp_path: Path) -> None:
    work, contract = tmp_path / "work", tmp_path / "contract"
    for folder in (work / ".git", contract):
        folder.mkdir(parents=True)
    (contract / "target.toml").write_text("the contract")
    (work / ".git" / "config").write_text("the run's")
    code = f"""
import pathlib
print(pathlib.Path({str(contract / "target.toml")!r}).read_text())
for path in ({str(contract / "target.toml")!r}, {str(work / ".git" / "config")!r}, "/usr/x", "/etc/x"):
    try:
        pathlib.Path(path).write_text("x")
    except OSError:
        pass
"""
    done = sandbox.run(_python(code, work, readable=(contract,)))
    assert done.output == "the contract\n", done.errors
    assert (contract / "target.toml").read_text() == "the contract"
    assert (work / ".git" / "config").read_text() == "the run's"
    assert not Path("/usr/x").exists()
    assert not Path("/etc/x").exists()


@every(WALLED)
def test_the_rest_of_the_machine_is_not_there(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "private").write_text("mine")
    places = [str(tmp_path / "private"), f"{Path.home()}/.ssh"]
    code = f"import os; print(*(os.path.exists(place) for place in {places!r}))"
    assert sandbox.run(_python(code, tmp_path / "work")).output == "False False\n"


@every(NAMES)
def test_no_variable_of_the_user_reaches_the_command(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    code = "import os; print('SECRET_TOKEN' in os.environ, any('hush' in value for value in os.environ.values()))"
    assert sandbox.run(_python(code, tmp_path)).output == "False False\n"


FETCH = """
import sys, urllib.request
for port in map(int, sys.argv[1:]):
    try:
        print(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode())
    except OSError:
        print("cut off")
"""


@every(HERE)
def test_only_the_models_endpoint_can_be_reached(sandbox: Sandbox, tmp_path: Path) -> None:
    with _server("the model") as model, _server("another") as other:
        words = (sys.executable, "-I", "-B", "-c", FETCH, str(model), str(other))
        job = Job(words, tmp_path, endpoint=f"127.0.0.1:{model}")
        assert sandbox.run(job).output == "the model\ncut off\n"
        assert sandbox.run(Job(words, tmp_path)).output == "cut off\ncut off\n"


@every(HERE)
def test_past_its_limit_a_command_is_gone_with_its_children(sandbox: Sandbox, tmp_path: Path) -> None:
    _beaten(sandbox, tmp_path)


@every(("none",))
def test_no_sandbox_ends_what_it_runs_as_well(sandbox: Sandbox, tmp_path: Path) -> None:
    _beaten(sandbox, tmp_path)


@every(tuple(name for name in NAMES if name != "modal"))
def test_what_floods_its_output_is_stopped(sandbox: Sandbox, tmp_path: Path) -> None:
    done = sandbox.run(Job(("sh", "-c", "yes; echo over >&2"), tmp_path, timeout_s=30.0, file_gib=2**-10))
    assert not done.timed_out
    assert done.output.strip("\n").startswith("y\ny\n")
    assert len(done.output) <= KEPT_BYTES


@every(("modal",))
def test_a_remote_command_past_its_limit_ends_and_its_work_comes_back(sandbox: Sandbox, tmp_path: Path) -> None:
    done = sandbox.run(_python("open('made', 'w').write('x'); import time; time.sleep(60)", tmp_path, timeout_s=1.0))
    assert done.timed_out
    assert (tmp_path / "made").read_text() == "x"


@every(NAMES)
def test_memory_is_bounded(sandbox: Sandbox, tmp_path: Path) -> None:
    code = "data = bytearray(1 << 30); print(len(data), sum(data[::4096]))"
    bounded = sandbox.run(_python(code, tmp_path, memory_gib=0.25))
    assert bounded.code != 0
    assert "1073741824" not in bounded.output


@every(NAMES)
def test_a_command_that_fails_is_no_failure_of_the_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    for code in (1, 125, 126, 127):
        assert sandbox.run(_python(f"import sys; sys.exit({code})", tmp_path)).code == code
    missing = sandbox.run(Job(("no-such-program-anywhere",), tmp_path))
    assert missing.code != 0
    assert not missing.timed_out


@every(HERE)
def test_a_command_cannot_pass_for_its_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    for name, code in (("bwrap", 1), ("docker", 125), ("sandbox-exec", 71)):
        words = f"import os, sys; os.write(2, b'{name}: no room for it\\n'); sys.exit({code})"
        done = sandbox.run(_python(words, tmp_path))
        assert (done.code, done.errors) == (code, f"{name}: no room for it\n")


@every(NAMES)
def test_a_command_keeps_to_the_cores_that_it_is_given(sandbox: Sandbox, tmp_path: Path) -> None:
    if not hasattr(os, "sched_getaffinity") or isinstance(sandbox, ModalSandbox):
        pytest.skip("there is no pinning of processes here")
    core = min(os.sched_getaffinity(0))
    words = "import os; print(sorted(os.sched_getaffinity(0)))"
    assert sandbox.run(_python(words, tmp_path, cores=(core,))).output == f"[{core}]\n"


@every(("bubblewrap", "docker"))
def test_a_sandbox_that_fails_is_no_failure_of_the_command(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="began no command"):
        sandbox.run(_python("pass", tmp_path, readable=(tmp_path / "nowhere",)))


@every(("modal",))
def test_an_account_that_is_not_let_in_is_said_before_anything_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = Path(modal_double.tempfile.gettempdir(), "modal-double-refuses")
    mark.touch()
    try:
        assert "modal token new" in sandbox.obstacle()
        with pytest.raises(InfrastructureError, match="Token missing"):
            sandbox.run(_python("pass", tmp_path))
    finally:
        mark.unlink()


@every(("bubblewrap", "docker"))
def test_nothing_of_a_command_outlives_a_loop_that_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    name = type(sandbox).__module__.rpartition(".")[2]
    beat = tmp_path / "work" / "beat"
    beat.parent.mkdir()
    words = f"""
import sys
sys.path[:0] = {[path for path in sys.path if path]!r}
from pathlib import Path
from vibeserve_loop import resolve
from vibeserve_loop.roles import Job
code = "import time\\nwhile True: open('beat', 'a').write('.'); time.sleep(0.05)"
resolve.sandbox({name!r}).run(Job((sys.executable, "-c", code), Path({str(beat.parent)!r}), timeout_s=300))
"""
    with subprocess.Popen([sys.executable, "-c", words]) as process:
        _until(lambda: beat.exists())
        os.kill(process.pid, signal.SIGKILL)
    assert beat.exists()
    _until(lambda: _still(beat))
    assert _still(beat)


def test_the_double_has_modals_names() -> None:
    modal = pytest.importorskip("modal", reason="the extra `modal` is not installed")
    import inspect

    wanted = set(inspect.signature(modal_double.Sandbox.create).parameters) - {"words"}
    assert wanted <= set(inspect.signature(modal.Sandbox.create).parameters)
    assert {"workdir", "timeout"} <= set(inspect.signature(modal.Sandbox.exec).parameters)
    assert {"create_if_missing"} <= set(inspect.signature(modal.App.lookup).parameters)
    for name in ("ExecTimeoutError", "AuthError"):
        assert issubclass(getattr(modal.exception, name), modal.exception.Error)
    for name in ("terminate", "filesystem"):
        assert hasattr(modal.Sandbox, name)


def _beaten(sandbox: Sandbox, folder: Path) -> None:
    beat = folder / "beat"
    child = f"import time\nwhile True: open({str(beat)!r}, 'a').write('.'); time.sleep(0.05)"
    start = "import subprocess, sys, time; "
    start += f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True); "
    done = sandbox.run(_python(start + "time.sleep(60)", folder, timeout_s=2.0))
    assert done.timed_out
    assert beat.exists()
    assert _still(beat)


def _still(beat: Path) -> bool:
    before = beat.read_text()
    time.sleep(0.3)
    return beat.read_text() == before


def _until(happened: object) -> None:
    until = time.monotonic() + 40
    while not happened() and time.monotonic() < until:  # type: ignore[operator]
        time.sleep(0.05)


class _server:
    """A server on a loopback port that always says the same."""

    def __init__(self, words: str) -> None:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(words.encode())

            def log_message(self, *rest: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)

    def __enter__(self) -> int:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return int(self._server.server_address[1])

    def __exit__(self, *rest: object) -> None:
        self._server.shutdown()
        self._server.server_close()
