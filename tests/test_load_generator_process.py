"""The life of the client process: where it starts, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from servers.stub import DONE, EVENT, PAYLOAD, STUB, running, running_stub

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.load_generator import Exchange, LoadGenerator, Reply


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running_stub() as (_, port):
        yield port


def gets(path: str, count: int, **fields: Any) -> list[Exchange]:
    return [Exchange(index, "GET", path, **fields) for index in range(count)]


def stream(tokens: int, **fields: Any) -> Exchange:
    return Exchange(0, "POST", "/v1/completions", json.dumps({"max_tokens": tokens}).encode(), **fields)


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state not in ("", "Z", "Z+")


def wait_until_gone(pid: int) -> bool:
    limit = monotonic() + 30
    while is_running(pid) and monotonic() < limit:
        sleep(0.05)
    return not is_running(pid)


def test_the_plain_event_loop_serves_where_uvloop_is_missing(port: int) -> None:
    with LoadGenerator("127.0.0.1", port, python=(sys.executable, "-I", "-S")) as generator:
        replies: tuple[Reply, ...] = generator.closed([*gets("/chunked", 2), stream(5)], 2).replies
        replies += generator.open(
            [Exchange(0, "GET", "/reset", at_s=0.0), Exchange(1, "GET", "/sized", at_s=0.01)]
        ).replies
    assert [reply.body for reply in replies] == [PAYLOAD, PAYLOAD, EVENT * 5 + DONE, b"", PAYLOAD]
    assert replies[3].error.startswith("connection reset")


@pytest.mark.parametrize("when", ["before a traffic", "during a traffic"])
def test_a_killed_client_is_an_infrastructure_error(port: int, when: str) -> None:
    with LoadGenerator("127.0.0.1", port) as generator:
        timer = threading.Timer(0.0 if when.startswith("before") else 0.5, os.kill, (generator.pid, signal.SIGKILL))
        timer.start()
        if when.startswith("before"):
            timer.join()
        with pytest.raises(InfrastructureError, match=r"load generator died \(exit status -9\)"):
            generator.closed(gets("/never", 2), 2)
        timer.join()
        with pytest.raises(InfrastructureError, match="not running"):
            generator.request(Exchange(0, "GET", "/sized"))


PARENT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pytest_vibeserve.load_generator import Exchange, LoadGenerator
generator = LoadGenerator("127.0.0.1", int(sys.argv[2])).__enter__()
holder = os.fork()
if not holder:
    time.sleep(300)
print(generator.pid, holder, flush=True)
if sys.argv[3] == "busy":
    generator.request(Exchange(0, "GET", "/never", timeout_s=300))
time.sleep(300)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_the_client_ends_with_its_parent_even_while_another_process_holds_the_pipe(port: int, state: str) -> None:
    root = str(Path(__file__).parents[1])
    with running((sys.executable, "-c", PARENT, root, str(port), state)) as (parent, line):
        client, holder = map(int, line.split())
        try:
            assert is_running(client)
            sleep(0.2)
            parent.kill()
            assert wait_until_gone(client)
        finally:
            os.kill(holder, signal.SIGKILL)


def test_a_client_leaves_with_its_context(port: int) -> None:
    with LoadGenerator("127.0.0.1", port) as generator:
        pid = generator.pid
        assert is_running(pid)
    assert wait_until_gone(pid)


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_a_server_in_its_own_network_namespace_is_reached_from_inside_only() -> None:
    with running(("bwrap", "--dev-bind", "/", "/", "--unshare-net", "--die-with-parent", *STUB)) as (box, line):
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(box.pid)], capture_output=True, text=True)
        inside, port = int(children.stdout), int(line)
        with LoadGenerator("127.0.0.1", port, netns_pid=inside) as generator:
            assert generator.request(Exchange(0, "GET", "/sized")).body == PAYLOAD
        with LoadGenerator("127.0.0.1", port) as generator:
            assert generator.request(Exchange(0, "GET", "/sized")).error.startswith("connection failed")


def test_a_namespace_that_cannot_be_entered_is_an_infrastructure_error() -> None:
    nobody = ("setpriv", "--reuid=65534", "--clear-groups") if os.geteuid() == 0 else ()
    with (
        pytest.raises(InfrastructureError, match="network namespace"),
        LoadGenerator("127.0.0.1", 1, netns_pid=1, python=(*nobody, sys.executable, "-I")),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_a_server_that_has_ended_is_reached_by_nobody(port: int) -> None:
    with LoadGenerator("127.0.0.1", port, netns_pid=2**22 + 1) as generator:
        assert generator.request(Exchange(0, "GET", "/sized")).error.startswith("connection failed")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process on a core")
def test_a_client_stays_on_the_core_that_it_is_given(port: int) -> None:
    allowed = os.sched_getaffinity(0)
    with LoadGenerator("127.0.0.1", port, core=max(allowed)) as kept, LoadGenerator("127.0.0.1", port) as free:
        assert os.sched_getaffinity(kept.pid) == {max(allowed)}
        assert os.sched_getaffinity(free.pid) == allowed
