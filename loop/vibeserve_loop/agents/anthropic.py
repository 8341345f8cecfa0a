"""A model behind Anthropic's Messages interface, in the loop's own tool loop; the key comes from ANTHROPIC_API_KEY."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.foreign import require
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Brief, Desk
from vibeserve_loop.tool_loop.prices import unpriced
from vibeserve_loop.tool_loop.session import caps_of, session

if TYPE_CHECKING:
    from pydantic_ai.models import Model

KEY = "ANTHROPIC_API_KEY"


class AnthropicAgent:
    """Edits by tools that the model calls; limits are per round, a cap in dollars needs a known or a given price."""

    def __init__(self, model: str = "claude-opus-5", base_url: str = "", **caps: str) -> None:
        """Check the options; UsageError names what is wrong before anything is spent."""
        self._model, self._base_url = model, base_url
        self._caps = caps_of(model, caps)

    def ready(self) -> None:
        """UsageError when the key or a library is missing."""
        if not os.environ.get(KEY):
            raise UsageError(f"{KEY} is not set: put the key in the environment")
        require("agent anthropic", "agents", "pydantic_ai", "anthropic")

    def unpriced(self) -> str:
        """Why nobody would know what a session costs in dollars."""
        return unpriced(self._model, self._caps.price)

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; UsageError when the key is missing or refused."""
        self.ready()
        return session(self._made, self._model, self._caps, brief, desk)

    def _made(self) -> Model:
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        return AnthropicModel(self._model, provider=AnthropicProvider(base_url=self._base_url or None))
