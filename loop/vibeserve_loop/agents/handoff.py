"""The agent that is somebody else: the loop lays out the brief and waits for edits in the workspace."""

from __future__ import annotations

import time

from vibeserve_loop.desk.endings import AgentStopped, Session, given_up, spent
from vibeserve_loop.desk.equipment import equipped
from vibeserve_loop.desk.handover import Handover
from vibeserve_loop.options import number
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Brief, Desk

POLL_S = 0.2
USUAL_HOURS = 72.0


class HandoffAgent:
    """Waits for `vibeserve-loop submit` or the MCP tool `submit_work`, `max_hours` at most."""

    def __init__(self, max_hours: str = "") -> None:
        """Check the limit; UsageError when it is no number."""
        self._hours = number("max_hours", max_hours, USUAL_HOURS) or USUAL_HOURS

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """Wait until somebody hands in; nothing comes of a round for which nobody did, and the edits are kept aside.

        Whatever ends the loop meanwhile leaves the edits where they are, to go on with after a resume.
        """
        began, handover = time.monotonic(), Handover(desk.folder)
        with equipped(desk.folder, brief.target):
            handover.offer(brief.number, brief.task, brief.text, brief.rounds)
            desk.log(f"the brief is {handover.brief}; the code is {desk.folder}; hand in with `vibeserve-loop submit`")
            limit_s = min(self._hours * 3600, brief.left.seconds)
            while (found := handover.submission()) is None:
                if time.monotonic() - began > limit_s:
                    break
                time.sleep(POLL_S)
        handover.withdraw()
        if found is None:
            kept = handover.leave(brief.number)
            why = f"nobody handed in anything within {limit_s / 3600:.4g} hours; the edits are in {kept}"
            return given_up(desk, AgentStopped("hung", why), Session(summary=""))
        handover.take()
        seconds = time.monotonic() - began
        return Session(summary=found.summary, exhausted=found.nothing, spend=spent(seconds, 0, 0, 0))
