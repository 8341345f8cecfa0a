"""A model behind OpenAI's interface, or any endpoint that speaks it, in the loop's own tool loop."""

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

KEY = "OPENAI_API_KEY"
INTERFACES = ("responses", "chat")


class OpenaiAgent:
    """Edits by tools that the model calls; `base_url` names another endpoint, `interface` is `responses` or `chat`."""

    def __init__(self, model: str = "gpt-5.5", base_url: str = "", interface: str = "", **caps: str) -> None:
        """Check the options; other endpoints are spoken to by `chat` unless told otherwise."""
        self._model, self._base_url = model, base_url
        self._interface = interface or ("chat" if base_url else "responses")
        if self._interface not in INTERFACES:
            raise UsageError(f"interface={interface} is none of {', '.join(INTERFACES)}")
        self._caps = caps_of(model, caps)

    def ready(self) -> None:
        """UsageError when the key or a library is missing."""
        if not os.environ.get(KEY) and not self._base_url:
            raise UsageError(f"{KEY} is not set: put the key in the environment, or give base_url=URL")
        require("agent openai", "agents", "pydantic_ai", "openai")

    def unpriced(self) -> str:
        """Why nobody would know what a session costs in dollars."""
        return unpriced(self._model, self._caps.price)

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; UsageError when the key is missing or refused."""
        self.ready()
        return session(self._made, self._model, self._caps, brief, desk)

    def _made(self) -> Model:
        from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
        from pydantic_ai.providers.openai import OpenAIProvider

        key = os.environ.get(KEY, "none")
        provider = OpenAIProvider(base_url=self._base_url or None, api_key=key)
        if self._interface == "chat":
            return OpenAIChatModel(self._model, provider=provider)
        return OpenAIResponsesModel(self._model, provider=provider)
