"""The agent that replays: it applies patches from a folder, one a round, in the order of their names."""

from __future__ import annotations

from pathlib import Path

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Brief, Desk, Job


class RecordedAgent:
    """Round k of the work applies the k-th `*.patch`; the file's name after its first dash names the technique."""

    def __init__(self, patches: str) -> None:
        """Take the folder of patches; UsageError when it holds none."""
        self._patches = sorted(Path(patches).resolve().glob("*.patch"))
        if not self._patches:
            raise UsageError(f"{patches} holds no *.patch file; give a folder of patches as `patches=DIR`")

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """Apply the next patch; exhausted after the last."""
        done = sum(1 for r in brief.rounds if r.task.kind == "work" and r.decision.ruling != "void")
        if done >= len(self._patches):
            return AgentResult(summary="every patch was applied", exhausted=True)
        patch = self._patches[done]
        command = ("git", "apply", "--whitespace=nowarn", str(patch))
        ended = desk.sandbox.run(Job(command, writable=desk.folder, readable=(patch, *desk.readable)))
        desk.log(f"{patch.name}: exit {ended.code} {ended.errors.strip()}")
        if ended.code != 0:
            raise UsageError(f"{patch} does not apply: {ended.errors.strip()}")
        name = patch.stem.partition("-")[2] or patch.stem
        return AgentResult(summary=f"applied {patch.name}", techniques=(name,))
