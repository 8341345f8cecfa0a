"""LangChain's deep agents at the loop's desk: its planning and sub-agents, our tools, sandbox and limits."""

from __future__ import annotations

from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Brief, Desk
from vibeserve_loop.tool_loop.deep_session import Model, deep_worked, ready
from vibeserve_loop.tool_loop.prices import unpriced
from vibeserve_loop.tool_loop.session import caps_of


class DeepagentsAgent:
    """`model` is PROVIDER:NAME as LangChain spells it; `base_url` and the caps of a session may be given."""

    def __init__(self, model: str = "anthropic:claude-opus-5", base_url: str = "", **caps: str) -> None:
        """Check the options; UsageError names what is wrong before anything is spent."""
        self._model, self._base_url = model, base_url
        self._caps = caps_of(model.rpartition(":")[2], caps)

    def ready(self) -> None:
        """UsageError when the key or a library is missing, as far as the model's name says which those are."""
        ready(self._model)

    def unpriced(self) -> str:
        """Why nobody would know what a session costs in dollars."""
        return unpriced(self._model.rpartition(":")[2], self._caps.price)

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; UsageError when the key or a library is missing."""
        self.ready()
        return deep_worked(Model(self._model, self._base_url), self._caps, brief, desk)
