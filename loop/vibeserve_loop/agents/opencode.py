"""OpenCode, driven over the Agent Client Protocol."""

from __future__ import annotations

from vibeserve_loop.cli_agents.driver import ProgramAgent


class OpencodeAgent(ProgramAgent):
    """Options: `command`, `model`, `base_url`, `endpoints`, `keys`, `home` (own or user), and the caps of a session."""

    def __init__(self, **options: str) -> None:
        """Check the options; UsageError names what is wrong before anything is spent."""
        super().__init__("opencode", options)
