"""What a candidate may try against the gate, the machine and the next candidate; each attack is really made."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from insides import LEVELS, Inside, ending, new_view, outcome, require

from pytest_vibeserve.isolation.confine import most_processes
from pytest_vibeserve.isolation.view import View

MIB = 1 << 20


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


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the gate's own user that waits."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as waiting:
        yield waiting
        waiting.communicate(b"\n")


def test_the_gates_memory_cannot_be_written(inside: Inside, victim: subprocess.Popen[bytes]) -> None:
    snippet = f"""
    answer = []
    for pid in ({os.getpid()}, {victim.pid}):
        try:
            open(f"/proc/{{pid}}/mem", "r+b").close()
            answer.append(pid)
        except OSError:
            pass
        try:
            os.kill(pid, 0)
            answer.append(-pid)
        except OSError:
            pass
    """
    assert inside(snippet) == []
    assert victim.poll() is None


def test_another_process_cannot_be_traced_or_looked_into(inside: Inside) -> None:
    snippet = """
    library = ctypes.CDLL(None, use_errno=True)
    child = subprocess.Popen(["sleep", "60"])
    attach, seize = 16, 0x4206
    answer = [library.ptrace(request, child.pid, None, None) for request in (attach, seize)]
    answer += [library.process_vm_readv(child.pid, None, 0, None, 0, 0), ctypes.get_errno()]
    child.kill()
    """
    assert inside(snippet) == [-1, -1, -1, 1]


def test_no_namespace_can_be_made_or_entered(inside: Inside) -> None:
    snippet = """
    library = ctypes.CDLL(None, use_errno=True)
    answer = [library.unshare(kind) for kind in (0x20000, 0x10000000, 0x20000000, 0x40000000)]
    answer.append(library.setns(os.open("/proc/self/ns/user", os.O_RDONLY), 0))
    answer.append(subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode != 0)
    stack = ctypes.create_string_buffer(65536)
    body = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: 0)
    top = ctypes.c_void_p(ctypes.addressof(stack) + 65536 - 64)
    answer.append(library.clone(body, top, 0x10000000 | 17, None))
    """
    assert inside(snippet) == [-1, -1, -1, -1, -1, True, -1]


def test_calls_that_reach_into_the_kernel_are_refused(inside: Inside) -> None:
    numbers = {"x86_64": (250, 321, 298, 323, 175, 313, 246, 320, 169, 425, 304, 438, 103, 165)}.get(os.uname().machine)
    if numbers is None:
        pytest.skip("the numbers of this machine's system calls are not in this test")
    snippet = f"""
    library = ctypes.CDLL(None, use_errno=True)
    answer = []
    for number in {numbers}:
        ctypes.set_errno(0)
        library.syscall(number, 0, 0, 0, 0, 0)
        answer.append(ctypes.get_errno())
    """
    assert inside(snippet) == [1] * len(numbers)


def test_only_the_usual_families_of_sockets_can_be_made(inside: Inside) -> None:
    snippet = """
    answer = []
    for family in (1, 2, 10, 16, 17, 31, 38, 40, 44):
        try:
            socket.socket(family, socket.SOCK_DGRAM if family in (2, 10) else socket.SOCK_STREAM if family == 1 else 3)
            answer.append(family)
        except OSError:
            pass
    """
    assert inside(snippet) == [1, 2, 10, 16]


def test_threads_pools_and_listening_still_work(inside: Inside) -> None:
    snippet = """
    import concurrent.futures, multiprocessing
    listening = socket.create_server(("127.0.0.1", 8000))
    client = socket.create_connection(("127.0.0.1", 8000))
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answer = list(threads.map(abs, [-1, -2]))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answer += pool.map(abs, [-3])
    with multiprocessing.get_context("fork").Manager() as manager:
        answer.append(list(manager.list([4])))
    from multiprocessing import shared_memory
    block = shared_memory.SharedMemory(create=True, size=5)
    again = shared_memory.SharedMemory(block.name)
    answer.append(again.buf[4])
    block.unlink()
    """
    assert inside(snippet) == [1, 2, 3, [4], 0]


def test_what_is_left_behind_is_nowhere_to_be_found(inside: Inside, level: str, tmp_path: Path) -> None:
    name = f"left-{os.getpid()}-{LEVELS.index(level)}"
    key = 0x56420000 + os.getpid() % 50000
    snippet = f"""
    for folder in ("/tmp", "/var/tmp", "/dev/shm", os.environ["HOME"]):
        open(folder + "/{name}", "w").close()
    library = ctypes.CDLL(None)
    answer = [library.shmget({key}, 4096, 0o1666) >= 0, library.semget({key}, 1, 0o1666) >= 0,
              library.msgget({key}, 0o1666) >= 0]
    """
    assert inside(snippet) == [True, True, True]
    folders = [Path(folder) for folder in ("/tmp", "/var/tmp", "/dev/shm", Path.home())]
    assert [folder for folder in folders if (folder / name).exists()] == []
    queues = "".join(Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem", "msg"))
    assert str(key) not in queues
    again = f"answer = os.path.exists('/dev/shm/{name}') or ctypes.CDLL(None).shmget({key}, 4096, 0) >= 0"
    assert inside(again) is False


def test_a_daemon_cannot_take_the_next_candidates_port(level: str, view: View, tmp_path: Path) -> None:
    daemon = """
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind(("127.0.0.1", 8000))
    server.listen()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    """
    ending(level, view, daemon)
    (tmp_path / "next").mkdir()
    snippet = 'answer = socket.socket().connect_ex(("127.0.0.1", 8000)) != 0'
    with ExitStack() as listening:
        with suppress(OSError):  # whoever listens on the host's port of that number already will do as well
            listening.enter_context(socket.create_server(("127.0.0.1", 8000)))
        assert outcome(level, new_view(tmp_path / "next"), snippet) is True


def test_a_fork_bomb_ends_and_takes_nothing_with_it(level: str, view: View) -> None:
    limit = most_processes()
    bomb = f"""
    import signal
    made, refused = 0, 0
    while made < {limit + 500} and not refused:
        try:
            if os.fork() == 0:
                signal.pause()
            made += 1
        except BlockingIOError:
            refused = 1
    print("made", made, flush=True)
    time.sleep(0 if refused else 30)
    """
    event, said = ending(level, view, bomb)
    if event.text:
        assert f"processes and threads, the limit is {limit}" in event.text
    else:
        assert int(said.split()[-1]) <= limit


def test_memory_beyond_the_limit_ends_the_candidate(level: str, view: View) -> None:
    event, _ = ending(level, view, f"held = b'x' * {600 * MIB}\ntime.sleep(60)\n", memory=200 * MIB)
    assert "memory" in event.text
    assert "the limit" in event.text
    assert event.status == 137


def test_memory_of_many_processes_counts_together(level: str, view: View) -> None:
    hogs = f"""
    for _ in range(4):
        if os.fork() == 0:
            held = b"x" * {100 * MIB}
            time.sleep(60)
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]) == -9 and 137)
    """
    event, _ = ending(level, view, hogs, memory=200 * MIB)
    assert event.status == 137


def test_a_temporary_folder_that_is_filled_is_full_or_counts_as_memory(level: str, view: View) -> None:
    fill = f"""
    block = b"x" * {MIB}
    for folder in ("/tmp", "/dev/shm"):
        with open(folder + "/hoard", "wb", buffering=0) as file:
            for _ in range(150):
                file.write(block)
    time.sleep(60)
    """
    before = os.statvfs("/tmp").f_bfree
    event, said = ending(level, view, fill, memory=200 * MIB)
    assert "memory" in event.text or event.status == 137 or "No space left" in said
    assert before - os.statvfs("/tmp").f_bfree < 10_000_000


def test_a_link_out_of_the_code_leads_nowhere(level: str, view: View, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("answer")
    (view.code / "link").symlink_to(secret)
    (view.code / "up").symlink_to("../../secret")
    assert outcome(level, view, "answer = [os.path.exists(name) for name in ('link', 'up')]") == [False, False]
