"""Serves what another command serves, slower by a known factor: it is put to sleep for a part of every period.

Used as `python slowed.py FACTOR COMMAND...`; knows nothing of what it slows.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

PERIOD_S = 0.04


def main() -> int:
    """Start the command in a group of its own and let it run for 1 / FACTOR of the time."""
    factor, command = float(sys.argv[1]), sys.argv[2:]
    if command[0] == "python":
        command[0] = sys.executable
    served = subprocess.Popen(command, process_group=0)
    asleep_s = PERIOD_S * (1 - 1 / factor)
    while served.poll() is None:
        began = time.monotonic()
        time.sleep(PERIOD_S - asleep_s)
        os.killpg(served.pid, signal.SIGSTOP)
        # What was slept too long or too short is made up for: the factor is to be kept.
        awake_s = time.monotonic() - began
        time.sleep(min(awake_s * (factor - 1), PERIOD_S))
        os.killpg(served.pid, signal.SIGCONT)
    return served.returncode


if __name__ == "__main__":
    sys.exit(main())
