"""OpenAI's Codex, driven over the Agent Client Protocol."""

from __future__ import annotations

from vibeserve_loop.cli_agents.driver import choice_of, ready, worked
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Brief, Desk


class CodexAgent:
    """Options: `command`, `model`, `base_url`, `home` (own or user), and the caps of a session."""

    def __init__(self, **options: str) -> None:
        """Check the options; UsageError names what is wrong before anything is spent."""
        self._choice = choice_of("codex", options)

    def ready(self) -> None:
        """UsageError when the program is not installed."""
        ready(self._choice)

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; UsageError when the program is not installed."""
        return worked(self._choice, brief, desk)
