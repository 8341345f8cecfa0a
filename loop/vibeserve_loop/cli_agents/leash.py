"""Run a command with its standard streams as they are, and nothing of it left once a lifeline closes; started by path.

The first argument is a file descriptor.  When its other end closes, for whatever reason, the command's group is asked
to stop and, after a grace, killed; on Linux children that left the group are found and killed as well.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 2.0


def main(lifeline: int, command: list[str]) -> int:
    """Run the command and return its exit status, 128 + signal when it was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.set_inheritable(lifeline, False)
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(127)
    for stream in (0, 1):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    threading.Thread(target=_stop_at_the_end, args=(lifeline, child), daemon=True).start()
    status = _waited(child)
    _signalled(child, signal.SIGKILL)
    _kill_adopted()
    return status if status >= 0 else 128 - status


def _waited(child: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _stop_at_the_end(lifeline: int, child: int) -> None:
    while os.read(lifeline, 4096):
        continue
    _signalled(child, signal.SIGTERM)
    time.sleep(GRACE_S)
    _signalled(child, signal.SIGKILL)


def _signalled(child: int, number: signal.Signals) -> None:
    for signalled in (os.killpg, os.kill):
        try:
            signalled(child, number)
        except (ProcessLookupError, PermissionError):
            continue
        return


def _kill_adopted() -> None:
    while pids := _children():
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.wait()
        except ChildProcessError:
            return


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as stream:
            return [int(word) for word in stream.read().split()]
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    code = main(int(sys.argv[1]), sys.argv[2:])
    os._exit(code)
