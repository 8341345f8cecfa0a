"""Our side of the Agent Client Protocol: permissions are answered by rule, everything told is counted and logged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acp import schema
from acp.exceptions import RequestError

from vibeserve_loop.cli_agents.lenience import amount, number, table
from vibeserve_loop.desk.endings import AgentStopped
from vibeserve_loop.roles import Desk
from vibeserve_loop.tool_loop.limits import Account
from vibeserve_loop.tool_loop.prices import Tokens

REFUSED_KINDS = ("fetch",)


class LoopClient:
    """The client of one session; `stopped` gets what must end it, `text` holds what the agent said last.

    Nothing counts before `listening`: an agent that takes a session up again first tells all of its history.
    """

    def __init__(self, desk: Desk, account: Account) -> None:
        """Take where the agent works and what it may use."""
        self._desk, self._account = desk, account
        self._folder = desk.folder.resolve()
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.text = ""
        self.listening = False
        self.usd: float | None = None
        self.broken = self.limited = False
        self._context = self._before = self._guessed = 0
        self._guessed_usd = 0.0
        self._calls: dict[str, str] = {}
        self._ended: set[str] = set()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **kwargs: Any
    ) -> schema.RequestPermissionResponse:
        """Allow, once, what stays in the workspace; refuse the rest."""
        allowed = self._allowed(tool_call)
        await self.session_update(session_id, schema.ToolCallProgress(
            session_update="tool_call_update", tool_call_id=tool_call.tool_call_id, title=tool_call.title,
            raw_input=tool_call.raw_input or {"asks": tool_call.title},
        ))  # fmt: skip
        wanted = ("allow_once", "allow_always") if allowed else ("reject_once", "reject_always")
        chosen = next((option for kind in wanted for option in options if option.kind == kind), None)
        self._desk.log(f"asks: {tool_call.title}: {'allowed' if allowed else 'refused'}")
        if chosen is None:
            return schema.RequestPermissionResponse(outcome=schema.DeniedOutcome(outcome="cancelled"))
        outcome = schema.AllowedOutcome(option_id=chosen.option_id, outcome="selected")
        return schema.RequestPermissionResponse(outcome=outcome)

    async def session_update(self, session_id: str, update: Any, **kwargs: Any) -> None:
        """Count and log what the agent tells; past a limit the session is to be stopped."""
        if not self.listening:
            return
        try:
            self._take(update)
        except AgentStopped as stop:
            self.stop(stop)

    def stop(self, reason: AgentStopped) -> None:
        """Have the session stopped for the first reason that comes up."""
        if not self.stopped.done():
            self.stopped.set_exception(reason)

    def _take(self, update: Any) -> None:
        if isinstance(update, schema.AgentMessageChunk | schema.AgentThoughtChunk):
            words = getattr(update.content, "text", "") or ""
            self._account.stream(len(words))
            if isinstance(update, schema.AgentMessageChunk):
                self.text = (self.text + words)[-4000:]
        elif isinstance(update, schema.ToolCallStart | schema.ToolCallProgress):
            self._account.stream(sum(len(str(part)) for part in update.content or ()))
            self._called(update)
        elif isinstance(update, schema.UsageUpdate):
            self._used(update)
        elif isinstance(update, schema.SessionInfoUpdate):
            self._heard(table(table(update.field_meta).get("codex")))

    def _called(self, call: Any) -> None:
        """Take in a call or what became of it; many programs tell of its input only after its start."""
        name = call.tool_call_id
        if name not in self._calls:
            self._calls[name] = ""
            self._account.streamed, self.text = 0, ""
            self._account.calls += 1
            self._guess()
            if self._account.calls > self._account.limits.turns:
                raise AgentStopped("looped", f"{self._account.calls} calls did not bring it to an end")
        words = json.dumps(call.raw_input, default=str, sort_keys=True) if call.raw_input else ""
        self._calls[name] = words or self._calls[name]
        if call.status in ("completed", "failed") and name not in self._ended:
            self._ended.add(name)
            self._desk.log(f"called {call.title or ''}: {self._calls[name][:1000]}: {call.status}")
            if self._calls[name]:
                self._account.called(self._calls[name])

    def _guess(self) -> None:
        """Hold the caps against what is likely spent, for the true account often comes only at the end."""
        limits, price = self._account.limits, self._account.price
        self._guessed += self._context
        if price is not None and self.usd is None:
            self._guessed_usd += price.usd(Tokens(self._context, 0, min(self._before, self._context)))
        self._before = self._context
        self._show()
        if limits.tokens is not None and self._guessed > limits.tokens:
            raise AgentStopped("budget", f"about {self._guessed} tokens are spent of {limits.tokens}")
        spent = self.usd if self.usd is not None else self._guessed_usd
        if limits.usd is not None and spent > limits.usd:
            raise AgentStopped("budget", f"about ${spent:.4f} is spent of ${limits.usd}")

    def _used(self, update: schema.UsageUpdate) -> None:
        self._context = amount(update.used)
        cost = update.cost
        if cost is not None and cost.currency == "USD" and number(cost.amount) == cost.amount:
            self.usd = cost.amount
            self._show()
            cap = self._account.limits.usd
            if cap is not None and self.usd > cap:
                raise AgentStopped("budget", f"${self.usd:.4f} is spent of ${cap}")

    def _show(self) -> None:
        self._account.told(self._guessed_usd if self.usd is None else self.usd, self._guessed, 0)

    def _heard(self, codex: Mapping[str, Any]) -> None:
        """What codex tells of its own state: it ends a turn that failed as if it had ended well."""
        status = table(codex.get("threadStatus")).get("type")
        self.broken = status == "systemError" if status else self.broken
        self.limited = self.limited or '"httpStatusCode": 429' in json.dumps(codex, default=str)

    @property
    def guessed(self) -> Tokens:
        """What a session that was cut short has likely used."""
        return Tokens(input=self._guessed)

    @property
    def guessed_usd(self) -> float:
        """What that likely cost."""
        return self._guessed_usd

    def _allowed(self, call: Any) -> bool:
        if call.kind in REFUSED_KINDS:
            return False
        return all(self._inside(place.path) for place in call.locations or ())

    def _inside(self, path: str) -> bool:
        place = (self._folder / path).resolve()
        return place == self._folder or (self._folder in place.parents and ".git" not in Path(path).parts)

    async def write_text_file(self, session_id: str, path: str, content: str, **kwargs: Any) -> None:
        """Not offered: agents edit the files themselves."""
        raise RequestError.method_not_found("fs/write_text_file")

    async def read_text_file(self, session_id: str, path: str, **kwargs: Any) -> schema.ReadTextFileResponse:
        """Not offered: agents read the files themselves."""
        raise RequestError.method_not_found("fs/read_text_file")

    async def create_terminal(
        self, session_id: str, command: str, args: Sequence[str] | None = None, **kwargs: Any
    ) -> schema.CreateTerminalResponse:
        """Not offered: agents run commands themselves, within their enclosure."""
        raise RequestError.method_not_found("terminal/create")

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """No extension is known."""
        raise RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """Extensions' notices are passed over."""

    def on_connect(self, conn: Any) -> None:
        """Nothing needs to be done."""
