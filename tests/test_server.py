"""Starting, watching and stopping candidates, with real ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from insides import require_backend
from places import REPOSITORY, TOML, Place, eventually, fetch, running

from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.isolation import probe
from pytest_vibeserve.isolation.levels import UNISOLATED
from pytest_vibeserve.isolation.processes import below
from pytest_vibeserve.server import Launch, Server


@pytest.fixture(params=["bwrap", "docker", "none"])
def isolation(request: pytest.FixtureRequest) -> str:
    require_backend(request.param)
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_ready_candidate_answers_and_is_gone_afterwards(place: Place, isolation: str) -> None:
    place.write("print('serving', flush=True)\nserve()\n")
    with place.start(isolation) as server:
        assert server.alive()
        assert server.exit_status() is None
        assert (server.isolation == UNISOLATED) == (isolation == "none") == (server.netns_pid is None)
        assert "class Answer" in fetch(server, "/server.py")
        assert server.memory_bytes() > 1 << 20
        assert server.stop() == ()
        assert not server.alive()
    assert "serving" in place.log.read_text()


def test_two_servers_run_side_by_side(place: Place, isolation: str, tmp_path: Path) -> None:
    place.write("serve()\n")
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.write("serve()\n")
    (place.code / "name").write_text("first")
    (other.code / "name").write_text("second")
    with place.start(isolation) as first, other.start(isolation) as second:
        assert (fetch(first, "/name"), fetch(second, "/name")) == ("first", "second")


def test_a_candidate_that_exits_at_once_fails_with_its_last_lines(place: Place, isolation: str) -> None:
    place.write("raise SystemExit('no such luck')\n")
    failure = place.failure(isolation)
    assert failure.check == "startup"
    assert "it ended with 1" in failure.message
    assert "no such luck" in failure.example


def test_a_candidate_killed_by_a_signal_is_reported_as_a_shell_does(place: Place, isolation: str) -> None:
    place.write("os.kill(os.getpid(), 11)\n")
    assert "it ended with 139" in place.failure(isolation).message


def test_a_candidate_that_never_listens_fails_with_route_and_seconds(place: Place, isolation: str) -> None:
    place.write("time.sleep(3600)\n")
    message = place.failure(isolation, startup_s=1.5).message
    assert "GET /health was not answered with 200 within 1.5 seconds; at the last try nothing listened there" in message


@pytest.fixture
def crowd() -> Iterator[None]:
    """Other programs that want every core several times over."""
    spin = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(spin) for _ in range(4 * (os.cpu_count() or 1))]
    yield
    for one in busy:
        one.kill()
        one.wait()


def test_a_candidate_that_others_kept_from_starting_gets_another_try(place: Place, crowd: None) -> None:
    place.write("print('begun', flush=True)\ntime.sleep(3600)\n")
    assert "not answered with 200 within 3 seconds" in place.failure("none", startup_s=3).message
    assert place.log.read_text().count("begun") == 3


def test_the_candidates_own_limit_wins_when_it_is_lower(place: Place, isolation: str) -> None:
    place.write("time.sleep(3600)\n", "startup_timeout_s = 1\n")
    assert "within 1 seconds" in place.failure(isolation, startup_s=60).message


def test_another_status_on_the_ready_route_is_named(place: Place, isolation: str) -> None:
    place.write("serve(status=404)\n")
    assert "answered 404 Not Found" in place.failure(isolation, startup_s=3).message


def test_an_answer_that_is_not_http_is_named(place: Place, isolation: str) -> None:
    place.write("""
import socket
with socket.create_server((sys.argv[2], int(sys.argv[3]))) as listening:
    while True:
        connection = listening.accept()[0]
        connection.sendall(b"hello there\\n")
        connection.close()
""")
    assert "hello there" in place.failure(isolation, startup_s=3).message


def test_a_program_that_is_not_there_is_the_candidates_fault(place: Place, isolation: str) -> None:
    (place.code / "candidate.toml").write_text(TOML.replace('"python"', '"no-such-engine"'))
    assert "serve.command: the program 'no-such-engine' is not found on PATH" in place.failure(isolation).message


def test_a_program_of_the_candidates_own_is_started(place: Place, isolation: str) -> None:
    place.write("serve()\n")
    (place.code / "run.sh").write_text('#!/bin/sh\nexec python3 server.py "$@"\n')
    (place.code / "run.sh").chmod(0o755)
    (place.code / "candidate.toml").write_text(TOML.replace('"python", "server.py"', '"./run.sh"'))
    with place.start(isolation) as server:
        assert server.alive()


def test_a_candidate_that_ends_in_service_is_no_longer_alive(place: Place, isolation: str) -> None:
    place.write("""
import threading
threading.Timer(0.5, lambda: os._exit(7)).start()
serve()
""")
    with place.start(isolation) as server:
        assert eventually(lambda: not server.alive())
        assert server.exit_status() == 7


def test_daemons_die_with_the_candidate(place: Place, isolation: str) -> None:
    marker = f"4{os.getpid()}.25"
    place.write(f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{marker}"])
    os._exit(0)
serve()
""")
    with place.start(isolation) as server:
        assert eventually(lambda: len(running(marker)) > 0)
        assert server.stop() == ()
    assert running(marker) == []


def test_daemons_of_a_candidate_that_ended_die_as_well(place: Place, isolation: str) -> None:
    marker = f"5{os.getpid()}.25"
    place.write(f"subprocess.Popen(['sleep', '{marker}'], start_new_session=True)\n")
    assert "it ended with 0" in place.failure(isolation).message
    assert running(marker) == []


def test_a_flood_of_output_fills_no_disk(place: Place, isolation: str) -> None:
    place.write("for _ in range(40): os.write(1, b'x' * (1 << 20))\nserve()\n")
    with place.start(isolation) as server:
        assert server.alive()
    assert 16 << 20 <= place.log.stat().st_size < 17 << 20
    assert b"was not kept" in place.log.read_bytes()[-100:]


def test_a_message_shows_no_terminal_commands(place: Place, isolation: str) -> None:
    place.write("print('\\033[2Jred'); raise SystemExit(3)\n")
    assert "\033" not in place.failure(isolation).message


def test_a_paused_candidate_is_stopped_with_its_children_until_it_is_resumed(place: Place, isolation: str) -> None:
    place.write("subprocess.Popen(['sleep', '3600'])\nserve()\n")
    with place.start(isolation) as server:
        root = server.shared().root
        # What asked for readiness is a process below it too, for a moment.
        assert eventually(lambda: len(below(root)) == 2)
        pids = {process.pid for process in below(root)}
        server.pause()
        assert eventually(lambda: {state(pid) for pid in pids} == {"T"})
        server.resume()
        assert eventually(lambda: "T" not in {state(pid) for pid in pids})
        assert server.alive()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_cpu_seconds_count_children_that_ended(place: Place, isolation: str) -> None:
    place.write("""
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", burn])
serve()
""")
    with place.start(isolation) as server:
        used = server.cpu_seconds()
        server.stop()
        assert used >= 0.3
        assert server.cpu_seconds() >= used


def test_memory_beyond_the_limit_ends_the_candidate(place: Place, isolation: str) -> None:
    place.write("held = b'x' * (400 << 20)\ntime.sleep(3600)\n")
    message = place.failure(isolation, memory_gib=0.1).message
    assert "GiB of memory, the limit is 0.10" in message


def test_a_candidate_that_changes_its_own_files_is_found_out(place: Place, isolation: str) -> None:
    place.write("""
try:
    open("answers.json", "w").write("{}")
except OSError as error:
    print("refused:", error.strerror, flush=True)
serve()
""")
    with place.start(isolation) as server:
        left = server.stop()
    if isolation == "none":
        assert left == ("its own files were changed while it served",)
    else:
        assert left == ()
        assert "refused: Read-only file system" in place.log.read_text()


def test_a_folder_that_changes_while_it_is_judged_is_the_users_error(place: Place, isolation: str) -> None:
    place.write("serve()\n")
    candidate = load_candidate(place.code)
    (place.code / "server.py").write_text("other")
    with pytest.raises(UsageError, match="was changed"):
        Server.start(candidate, place.model, launch=Launch(5, None, place.log, isolation))


def test_isolation_that_is_asked_for_in_vain_is_no_fault_of_the_candidate(place: Place) -> None:
    place.write("serve()\n")
    with pytest.raises(UsageError, match="write one of: auto, strict, bwrap, docker, seatbelt, none"):
        place.start("podman")
    for backend in ("bwrap", "docker", "seatbelt"):
        if not probe((backend,)).available:
            with pytest.raises(InfrastructureError, match="no isolation here"):
                place.start(backend)


def test_a_port_that_another_program_took_is_not_blamed_on_the_candidate(place: Place, tmp_path: Path) -> None:
    wanted, taken = tmp_path / "wanted", tmp_path / "taken"
    place.write(f"""
if not os.path.exists({str(taken)!r}):
    open({str(wanted)!r}, "w").write(sys.argv[3] + "!")
    while not os.path.exists({str(taken)!r}):
        time.sleep(0.01)
serve()
""")
    held: list[socket.socket] = []

    def take() -> None:
        if eventually(lambda: wanted.exists() and wanted.read_text().endswith("!")):
            held.append(socket.create_server(("127.0.0.1", int(wanted.read_text()[:-1]))))
            taken.touch()

    thief = threading.Thread(target=take)
    thief.start()
    try:
        with place.start("none") as server:
            assert server.alive()
            assert server.port != held[0].getsockname()[1]
    finally:
        thief.join()
        for listening in held:
            listening.close()


@pytest.mark.parametrize("phase", ["serve", "build"])
def test_a_gate_that_is_killed_leaves_nothing_behind(place: Place, isolation: str, phase: str) -> None:
    marker = f"6{os.getpid()}.25"
    child = f"subprocess.Popen(['sleep', '{marker}'], start_new_session=True)\n"
    build = f'[build]\ncommand = ["sh", "-c", "setsid sleep {marker}"]\n' if phase == "build" else ""
    place.write(child + "serve()\n", build)
    gate = f"""
import sys
from pathlib import Path
from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.server import Launch, Server
launch = Launch(30, None, Path({str(place.log)!r}), {isolation!r})
server = Server.start(load_candidate(Path({str(place.code)!r})), Path({str(place.model)!r}), launch=launch)
sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(place.private)}
    with subprocess.Popen([sys.executable, "-c", gate], stdin=subprocess.PIPE, env=environment) as process:
        assert eventually(lambda: len(running(marker)) > 0)
        process.send_signal(signal.SIGKILL)
    assert eventually(lambda: running(marker) == [])
    assert eventually(lambda: list(place.private.iterdir()) == [])
