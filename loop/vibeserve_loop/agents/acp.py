"""Any program that speaks the Agent Client Protocol, by its command."""

from __future__ import annotations

from vibeserve_loop.cli_agents.driver import choice_of, ready, worked
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Brief, Desk


class AcpAgent:
    """`command` starts it; `home` (own or user) and the caps of a session may be given too."""

    def __init__(self, command: str = "", **options: str) -> None:
        """Check the options; UsageError when there is no command."""
        self._choice = choice_of("acp", {"command": command, **options})

    def ready(self) -> None:
        """UsageError when the program is not installed."""
        ready(self._choice)

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; UsageError when the program is not installed."""
        return worked(self._choice, brief, desk)
