"""Wakes the event loop at a moment of the monotonic clock, closer than its own timers, which know milliseconds only."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from math import ceil
from time import monotonic

CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1
NANOSECONDS = 10**9


class Alarm:
    """Calls back once, not before the moment it was last set to: a timerfd(2) on Linux, elsewhere the loop's timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        """Ring by calling `ring` on `loop`."""
        self._loop, self._ring = loop, ring
        self._timer: asyncio.TimerHandle | None = None
        self._fd = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._rang)

    def set(self, moment: float) -> None:
        """Ring at `moment` and at no other; one that has passed rings at once."""
        if self._fd < 0:
            self.silence()
            self._timer = self._loop.call_later(ceil(1000 * max(0.0, moment - monotonic())) / 1000, self._ring)
            return
        # A time of zero would disarm; rounding up keeps it from ringing a nanosecond early.
        self._arm(max(1, ceil(moment * NANOSECONDS)))

    def silence(self) -> None:
        """Ring no more until it is set again."""
        if self._fd >= 0:
            self._arm(0)
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Give the timer back; may be called again."""
        self.silence()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _arm(self, nanoseconds: int) -> None:
        whole, part = divmod(nanoseconds, NANOSECONDS)
        # struct itimerspec: the interval of a repetition, here none, and the first expiry, each as struct timespec.
        spec = (ctypes.c_long * 4)(0, 0, whole, part)
        self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, spec, None)

    def _rang(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            # It was set anew between its ringing and this call.
            return
        self._ring()
