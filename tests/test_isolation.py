"""What a candidate's process can see, write and reach, tried from the inside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from insides import LEVELS, Inside, new_view, outcome, require

from pytest_vibeserve.isolation.errand import Errand
from pytest_vibeserve.isolation.levels import DOCKER, MAPPED, SEPARATE, UNISOLATED, errand, level_for
from pytest_vibeserve.isolation.processes import below, stored_bytes, table
from pytest_vibeserve.isolation.supervised import Supervised
from pytest_vibeserve.isolation.view import View

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def view(tmp_path: Path) -> View:
    return new_view(tmp_path)


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> str:
    require(request.param)
    return str(request.param)


@pytest.fixture
def inside(level: str, view: View) -> Inside:
    return lambda snippet: outcome(level, view, snippet)


def test_files_of_the_host_are_not_there(inside: Inside, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("answer")
    hidden = [str(secret), str(REPOSITORY / "pyproject.toml"), str(REPOSITORY / "targets"), "/etc/shadow", "/var/log"]
    assert inside(f"answer = [path for path in {hidden} if os.path.exists(path)]") == []
    assert inside(f"answer = os.path.exists({str(Path.home() / '.bashrc')!r})") is False


def test_the_gates_own_code_cannot_be_imported_but_serving_libraries_can(inside: Inside) -> None:
    snippet = """
    from importlib.util import find_spec
    answer = [bool(find_spec(name)) for name in ("pytest_vibeserve", "vibeserve_loop", "numpy", "orjson")]
    """
    assert inside(snippet) == [False, False, True, True]


def test_the_usual_serving_libraries_work_inside(inside: Inside) -> None:
    names = [name for name in ("torch", "transformers", "aiohttp", "uvloop") if find_spec(name)]
    snippet = f"import importlib\nanswer = [importlib.import_module(n).__name__ for n in {names}]"
    assert inside(snippet) == names


def test_nothing_outside_the_temporary_folders_can_be_written(inside: Inside) -> None:
    snippet = """
    answer = []
    for path in ("/x", "/candidate/x", "/model/x", "/model/config.json", "/usr/x", "/etc/x", "/home/x", "/sys/x"):
        try:
            open(path, "a").close()
            answer.append(path)
        except OSError:
            pass
    """
    assert inside(snippet) == []


def test_settings_of_the_kernel_cannot_be_opened_for_writing(inside: Inside) -> None:
    snippet = """
    answer = [path for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/fs/file-max", "/proc/sysrq-trigger")
              if os.access(path, os.W_OK)]
    """
    assert inside(snippet) == []


def test_temporary_folders_are_empty_and_writable(inside: Inside) -> None:
    snippet = """
    answer = []
    for folder in (os.environ["TMPDIR"], os.environ["HOME"], "/dev/shm"):
        answer.append(os.listdir(folder))
        open(folder + "/x", "w").close()
    """
    assert inside(snippet) == [[], [], []]


def test_a_read_only_folder_cannot_be_remounted(inside: Inside) -> None:
    snippet = """
    library = ctypes.CDLL(None, use_errno=True)
    remount = 0x20 | 0x1000
    answer = [library.mount(None, place, None, remount, None) for place in (b"/candidate", b"/model", b"/usr", b"/")]
    answer.append(library.unshare(0x10000000))
    """
    assert inside(snippet) == [-1] * 5


def test_there_are_no_capabilities_and_none_can_be_gained(inside: Inside) -> None:
    snippet = """
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    answer = [int(status["CapEff"], 16), int(status["CapBnd"], 16), int(status["NoNewPrivs"]), os.getuid()]
    """
    assert inside(snippet) == [0, 0, 1, 65534]


def test_no_other_process_is_seen(level: str, inside: Inside) -> None:
    snippet = """
    answer = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            answer.append(open(f"/proc/{name}/cmdline").read().split(chr(0))[0].rsplit("/", 1)[-1])
    """
    seen = inside(snippet)
    assert isinstance(seen, list)
    first = "sh" if level == DOCKER else "bwrap"
    assert sorted(seen) == sorted([first, Path(sys.executable).name])


def test_the_hosts_ports_and_the_world_cannot_be_reached(inside: Inside) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        snippet = f"""
        answer = []
        for address in (("127.0.0.1", {port}), ("192.0.2.1", 80)):
            try:
                socket.create_connection(address, 2).close()
                answer.append(address)
            except OSError:
                pass
        answer.append([name for _, name in socket.if_nameindex()])
        """
        assert inside(snippet) == [["lo"]]


def test_the_environment_is_the_documented_one(inside: Inside) -> None:
    assert "PYTEST_CURRENT_TEST" in os.environ
    names = inside("answer = sorted(os.environ)")
    assert isinstance(names, list)
    wanted = {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
    extra = {"PWD", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"}
    assert set(names) - extra == wanted | {"PYTHONDONTWRITEBYTECODE"}


def test_a_profiled_pass_shows_its_hook_and_lets_nobody_write_there(level: str, view: View, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.mkdir(mode=0o755)
    (hook / "begin").touch()
    snippet = """
        place = os.environ["PYTHONPATH"]
        try:
            open(os.path.join(place, "own"), "w")
            written = True
        except OSError:
            written = False
        answer = [os.listdir(place), written, os.path.dirname(os.environ["VIBESERVE_PROFILE"]) == os.environ["TMPDIR"]]
        """
    seen = outcome(level, replace(view, hook=hook), snippet)
    assert seen == [["begin"], False, True]


def test_the_host_is_not_named(inside: Inside) -> None:
    assert inside("answer = [socket.gethostname(), __import__('getpass').getuser()]") == ["candidate", "candidate"]


def test_a_model_of_links_as_in_the_hubs_cache_is_readable(inside: Inside, view: View) -> None:
    blobs = view.private.parent / "blobs"
    blobs.mkdir()
    (blobs / "abc").write_text("weights")
    assert view.model is not None
    (view.model / "model.safetensors").symlink_to("../blobs/abc")
    snippet = "answer = [sorted(os.listdir('/model')), open('/model/model.safetensors').read()]"
    assert inside(snippet) == [["config.json", "model.safetensors"], "weights"]


def test_the_folder_that_the_gate_was_started_in_is_not_shown(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr/share")
    assert inside("answer = os.listdir('/usr/share')") == []
    assert inside("answer = os.path.isdir('/usr/lib')") is True


def test_a_gate_that_is_root_gives_candidates_a_uid_of_their_own(view: View) -> None:
    require(SEPARATE)
    (view.code / "program.py").write_text("import time; time.sleep(60)")
    with Supervised(errand(SEPARATE, view, (sys.executable, "program.py"), view.private / "log")) as run:
        assert run.wait_for({"started"}, 60) is not None
        uids = {os.stat(f"/proc/{process.pid}").st_uid for process in [table()[run.root], *below(run.root)]}
    assert uids == {65534}


def test_a_model_that_others_may_not_read_is_served_under_a_mapped_uid(view: View) -> None:
    require(SEPARATE)
    assert view.model is not None
    assert level_for("auto", view.model) == SEPARATE
    (view.model / "config.json").chmod(0o600)
    assert level_for("auto", view.model) == MAPPED


def test_where_bwrap_is_missing_the_probe_says_how_to_get_it() -> None:
    program = "from pytest_vibeserve.isolation import probe; p = probe(); print(p.label, p.why_not, p.how_to_get)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": "/nonexistent", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith(UNISOLATED)
    assert "bubblewrap" in run.stdout


def test_a_gate_that_is_not_root_isolates_as_well(tmp_path: Path) -> None:
    require(SEPARATE)
    python = "/usr/bin/python3"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i", "PATH=/usr/bin:/bin"]
    nobody.append(f"PYTHONPATH={REPOSITORY}:{Path(pytest.__file__).parent.parent}")
    able = subprocess.run([*nobody, python, "-c", "import pydantic, pytest_vibeserve"], capture_output=True, cwd="/")
    if able.returncode != 0:
        pytest.skip("another user has no Python here that could run the gate")
    program = tmp_path / "gate.py"
    program.write_text(GATE)
    with program.open() as source:
        run = subprocess.run([*nobody, python, "-"], stdin=source, capture_output=True, text=True, cwd="/")
    assert run.stdout.splitlines() == [MAPPED, "True", "200", "()"], run.stderr


GATE = """
import subprocess, sys, tempfile
from pathlib import Path
from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.server import Launch, Server

folder = Path(tempfile.mkdtemp())
code, model = folder / "code", folder / "model"
code.mkdir()
model.mkdir()
(code / "candidate.toml").write_text('''schema = 1
[serve]
command = ["python", "-m", "http.server", "--bind", "{host}", "{port}"]
ready = "/candidate.toml"
''')
ask = '''
import sys, urllib.request
from pytest_vibeserve.isolation import enter_network
enter_network(int(sys.argv[1]))
print(urllib.request.urlopen(sys.argv[2]).status)
'''
with Server.start(load_candidate(code), model, launch=Launch(30, None, folder / "log")) as server:
    print(server.isolation)
    print(server.alive())
    url = f"http://{server.host}:{server.port}/candidate.toml"
    answer = subprocess.run([sys.executable, "-c", ask, str(server.netns_pid), url], capture_output=True, text=True)
    print(answer.stdout.strip())
    print(server.stop())
__import__("shutil").rmtree(folder)
"""


def test_an_errand_travels_as_one_line() -> None:
    sent = Errand(argv=("a\nb", "c"), environment=("A=b",), folder="/", log="l", isolated=True, uid=5, memory=7)
    line = sent.to_line()
    assert line.count(b"\n") == 1
    assert Errand.from_line(line) == sent


def test_what_lies_in_the_machines_own_file_systems_is_no_candidates_memory() -> None:
    assert stored_bytes(os.getpid(), ("/", "/tmp", "/dev/shm")) == 0
