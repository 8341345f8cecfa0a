"""Run a command so that nothing of it outlives this program's standard input; started as a script, by path.

The starter holds the other end of standard input.  When that closes, for whatever reason, the command is asked to
stop (SIGINT) and, after a grace, killed.  On Linux this program adopts orphans, so children that left the command's
process group are found and killed as well.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 8.0


def main(command: list[str]) -> int:
    """Run the command and return its exit status, 128 + signal when it was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        _become(command)
    threading.Thread(target=_stop_at_end_of_input, args=(child,), daemon=True).start()
    status = os.waitstatus_to_exitcode(_wait_for(child))
    _kill_group(child, signal.SIGKILL)
    _kill_adopted()
    return status if status >= 0 else 128 - status


def _become(command: list[str]) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)


def _wait_for(child: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


def _stop_at_end_of_input(child: int) -> None:
    while os.read(0, 4096):
        continue
    _kill_group(child, signal.SIGINT)
    time.sleep(GRACE_S)
    _kill_group(child, signal.SIGKILL)


def _kill_group(child: int, number: signal.Signals) -> None:
    """Signal the command's group, or the command alone while it has not made one yet."""
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
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
