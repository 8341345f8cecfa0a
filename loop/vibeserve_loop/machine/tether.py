"""Run a command so that nothing of it outlives a lifeline that its starter holds; started as a script, by path.

    tether.py [--lifeline FD] [--cores N,N...] [--memory BYTES] [--file BYTES] [--grace SECONDS] COMMAND WORD...

The lifeline is a file descriptor, this program's standard input unless one is named, in which case the command keeps
its standard streams to be spoken to.  When its other end closes, for whatever reason, the command is asked to stop and,
after a grace, killed.  On Linux this program adopts orphans, so children that left the command's process group are
found and killed as well; there the command may be pinned to cores, and each of its processes bounded in memory.
No file, of those that get its output too, grows beyond `--file` by what it writes; who tries is killed (SIGXFSZ).
"""

import ctypes
import os
import resource
import signal
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 8.0
OPTIONS = ("--lifeline", "--cores", "--memory", "--file", "--grace")


def main(words: list[str]) -> int:
    """Run the command and return its exit status, 128 + signal when it was killed."""
    options: dict[str, str] = {}
    while words and words[0] in OPTIONS:
        options[words[0]], words = words[1], words[2:]
    lifeline, grace_s = int(options.get("--lifeline", "0")), float(options.get("--grace", GRACE_S))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if "--cores" in options:
            os.sched_setaffinity(0, [int(core) for core in options["--cores"].split(",")])
    if lifeline:
        os.set_inheritable(lifeline, False)
    child = os.fork()
    if child == 0:
        for name, kind in (("--memory", resource.RLIMIT_DATA), ("--file", resource.RLIMIT_FSIZE)):
            if name in options:
                _bound(kind, int(options[name]))
        _become(words, spoken_to=lifeline > 0)
    if lifeline:
        for stream in (0, 1):
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    threading.Thread(target=_stop_at_the_end, args=(lifeline, child, grace_s), daemon=True).start()
    status = os.waitstatus_to_exitcode(_wait_for(child))
    _kill_group(child, signal.SIGKILL)
    _kill_adopted()
    return status if status >= 0 else 128 - status


def _bound(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard),) * 2)


def _become(command: list[str], *, spoken_to: bool) -> None:
    os.setsid()
    if not spoken_to:
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


def _stop_at_the_end(lifeline: int, child: int, grace_s: float) -> None:
    """A gate is asked by SIGINT, as by a person; programs that are spoken to end at SIGTERM alone."""
    while os.read(lifeline, 4096):
        continue
    _kill_group(child, signal.SIGTERM if lifeline else signal.SIGINT)
    time.sleep(grace_s)
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
