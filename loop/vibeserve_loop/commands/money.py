"""Whether a limit in dollars can be kept: every agent of the run must tell, or let be worked out, what it costs."""

from __future__ import annotations

from pytest_vibeserve.errors import UsageError
from vibeserve_loop import resolve
from vibeserve_loop.foreign import demanded
from vibeserve_loop.records import AgentChoice, Settings
from vibeserve_loop.roles import Priced
from vibeserve_loop.tool_loop.prices import unpriced

SILENT = ("acp", "codex", "gemini")
"""Programs that tell tokens at the most; claude tells dollars."""
PARTLY_SILENT = "opencode"
"""It tells the dollars of models that it knows, which those behind an endpoint of one's own are not."""


def check_money(settings: Settings) -> None:
    """UsageError that names the agent whose sessions nobody could put a price on."""
    for choice in (*settings.agents, *((settings.planner,) if settings.planner else ())):
        if why := _unpriced(choice):
            raise UsageError(f"--max-usd cannot be kept with agent {choice.name}: {why}, or set --max-tokens instead")


def _unpriced(choice: AgentChoice) -> str:
    options = dict(choice.options)
    if choice.name in SILENT or (choice.name == PARTLY_SILENT and options.get("base_url")):
        return unpriced(options.get("model", ""), options.get("price", ""))
    agent = resolve.agent(choice.name, choice.options)
    return demanded(f"agent {choice.name}: unpriced", agent.unpriced) if isinstance(agent, Priced) else ""
