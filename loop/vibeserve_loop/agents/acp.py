"""Any program that speaks the Agent Client Protocol, by its command."""

from __future__ import annotations

from vibeserve_loop.cli_agents.driver import ProgramAgent


class AcpAgent(ProgramAgent):
    """`command` starts it, `keys` names the variables that it gets, `endpoints` (HOST[:PORT],...) is what it reaches.

    `home` (own or user) and the caps of a session may be given too.
    """

    def __init__(self, command: str = "", **options: str) -> None:
        """Check the options; UsageError when there is no command."""
        super().__init__("acp", {"command": command, **options})
