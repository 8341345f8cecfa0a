"""Moves this process into another process's network namespace (Linux, setns(2), unshare(2))."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys

from ..errors import InfrastructureError

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
NS_GET_USERNS = 0xB701


def enter_network_namespace(pid: int) -> None:
    """Enter the network namespace of `pid`, and first the user namespace that owns it where rights are missing.

    Where `pid` has ended this process enters an empty one: nobody can be reached there, as nobody answers for a server
    that is gone.  To be called while the process has one thread.  Raises InfrastructureError.
    """
    if sys.platform != "linux":
        raise InfrastructureError("network namespaces exist on Linux only; start the server without isolation")
    try:
        try:
            network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            _enter_empty()
            return
        try:
            _enter(network)
        finally:
            os.close(network)
    except OSError as error:
        raise InfrastructureError(f"cannot enter the network namespace of process {pid}: {error.strerror}") from error


def _enter(network: int) -> None:
    try:
        _called("setns", network, CLONE_NEWNET)
    except PermissionError:
        # A sandbox may have nested further user namespaces: the one to join is the owner of the network.
        owner = fcntl.ioctl(network, NS_GET_USERNS)
        try:
            _called("setns", owner, CLONE_NEWUSER)
        finally:
            os.close(owner)
        _called("setns", network, CLONE_NEWNET)


def _enter_empty() -> None:
    try:
        _called("unshare", CLONE_NEWNET)
    except PermissionError:
        _called("unshare", CLONE_NEWUSER | CLONE_NEWNET)


def _called(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[function](*arguments) != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, os.strerror(number))
