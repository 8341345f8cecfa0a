"""Reaching a server inside a network namespace, and waiting until it is ready."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import time

HOST = "127.0.0.1"
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_NS_GET_USERNS = 0xB701
_LISTEN = "0A"
_ANSWER_S = 10.0
_BETWEEN_S = 0.02


def enter_network(pid: int) -> None:
    """Move the calling thread into the network namespace of a process.

    Root may call it from any thread; anybody else only from a process of one thread, as the namespace's owning user
    namespace must be joined first (setns(2)). OSError when neither works.
    """
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        _setns(network, _CLONE_NEWNET)
    except PermissionError:
        owner = fcntl.ioctl(network, _NS_GET_USERNS)
        _setns(owner, _CLONE_NEWUSER)
        os.close(owner)
        _setns(network, _CLONE_NEWNET)
    finally:
        os.close(network)


def wait_until_ready(port: int, route: str, deadline: float) -> str:
    """Ask `route` until it answers 200 (then "") or the monotonic clock reaches `deadline` (then the last answer)."""
    answer = "never asked"
    while time.monotonic() < deadline:
        answer = ask(HOST, port, route, min(_ANSWER_S, deadline - time.monotonic()))
        if not answer:
            return ""
        time.sleep(_BETWEEN_S)
    return answer


def listeners(port: int) -> set[int]:
    """The sockets, by inode, that listen on a TCP port of the caller's network (Linux; none elsewhere)."""
    found: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            with open(table, encoding="ascii") as lines:
                rows = [line.split() for line in lines][1:]
            found.update(int(row[9]) for row in rows if row[3] == _LISTEN and int(row[1].rsplit(":", 1)[1], 16) == port)
    return found


def ask(host: str, port: int, route: str, timeout_s: float) -> str:
    """One GET: "" when it is answered with 200, else what happened instead, in words."""
    try:
        with socket.create_connection((host, port), timeout=max(timeout_s, 0.001)) as connection:
            request = f"GET {route} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            with connection.makefile("rb") as answer:
                line = answer.readline(200)
    except TimeoutError:
        return f"it gave no answer within {timeout_s:.1f} s"
    except ConnectionRefusedError:
        return "nothing listened there"
    except OSError as error:
        return f"it hung up ({error.strerror or error})"
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return f"it answered what is not HTTP: {line[:80]!r}" if line else "it hung up without an answer"
    return "" if words[1] == b"200" else f"it answered {b' '.join(words[1:]).decode('latin-1').strip()}"


def _setns(descriptor: int, kind: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")
