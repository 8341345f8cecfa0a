"""A model endpoint for tests: it speaks four interfaces on a loopback port and does what a script of steps says.

The script is JSON: a list of steps.  The k-th step answers a request that carries k answers of tools; `{"say": text}`
ends, `{"shell": command}` calls whatever tool runs commands, `{"call": name, "with": {...}}` calls the tool whose name
ends so (`$ticket` among the arguments is the last ticket of a gate).  `{"fault": kind, "times": n}` stands before the
steps and spoils the first n requests (all, without `times`).  Started as a program it prints its port; every request
is one line of the log: path, tools, what tools answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from model_dialects import Asked, Chat, Dialect, Gemini, Messages, Responses, Turn

SHELLS = {
    "run": lambda command: {"command": command},
    "Bash": lambda command: {"command": command, "description": "runs it"},
    "bash": lambda command: {"command": command, "description": "runs it"},
    "run_shell_command": lambda command: {"command": command, "description": "runs it"},
    "execute": lambda command: {"command": command},
    "exec_command": lambda command: {"cmd": command},
    "shell_command": lambda command: {"command": command},
    "shell": lambda command: {"command": ["sh", "-c", command]},
}
ROUTES = (("/v1/messages", Messages), ("/v1/responses", Responses), ("/v1/chat/completions", Chat))
GARBAGE = b'event: what\ndata: {"type": "nothing", "un\n\n'


class Endpoint:
    """One script, one log."""

    def __init__(self, script: list[dict[str, Any]], log: Path) -> None:
        self._fault = script[0] if script and "fault" in script[0] else {}
        self._steps = [step for step in script if "fault" not in step]
        self._log = log
        self._served = 0

    def application(self) -> web.Application:
        found = web.Application(client_max_size=2**28)
        for path, dialect in ROUTES:
            found.router.add_post(path, self._route(dialect))
        found.router.add_post("/v1beta/models/{model}", self._route(Gemini))
        found.router.add_post("/v1/messages/count_tokens", self._count)
        found.router.add_get("/v1/models", self._models)
        return found

    def _route(self, dialect: Dialect) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            body = await request.json()
            asked = dialect.asked(body)
            self._note(request, asked)
            if self._spoiled(asked):
                return await self._spoil(request)
            model = str(body.get("model") or request.match_info.get("model", "").partition(":")[0])
            streamed = asked.stream or "streamGenerateContent" in request.path
            return await _answered(request, dialect, self._turn(asked), model, streamed)

        return answer

    def _turn(self, asked: Asked) -> Turn:
        if not asked.tools or not self._steps:
            return Turn("A title")
        step = self._steps[min(len(asked.results), len(self._steps) - 1)]
        identity = f"call_{len(asked.results) + 1}"
        if "shell" in step:
            name = next((name for name in SHELLS if name in asked.tools), "")
            assert name, f"no shell among {sorted(asked.tools)}"
            return Turn("I run it.", name, SHELLS[name](step["shell"]), identity=identity)
        if "call" in step:
            name = next((name for name in asked.tools if name.endswith(step["call"])), step["call"])
            scope, _, bare = name.rpartition("/")
            return Turn("I ask.", bare, _filled(step.get("with", {}), asked), scope, identity)
        return Turn(step["say"])

    def _spoiled(self, asked: Asked) -> bool:
        if not self._fault or not asked.tools:
            return False
        self._served += 1
        return self._served <= self._fault.get("times", 10**9)

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        kind = self._fault["fault"]
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind in ("429", "500", "401"):
            error = {"type": "rate_limit_error" if kind == "429" else "api_error", "message": f"no: {kind}"}
            return web.json_response({"type": "error", "error": error}, status=int(kind), headers={"retry-after": "0"})
        if kind == "echo":
            told = " ".join(request.headers.get(name, "") for name in ("authorization", "x-api-key"))
            error = {"type": "invalid_request_error", "message": f"not understood: {told}"}
            return web.json_response({"type": "error", "error": error}, status=400)
        reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await reply.prepare(request)
        if kind == "flood":
            return await _flooded(reply, request)
        await reply.write(GARBAGE)
        return reply

    def _note(self, request: web.Request, asked: Asked) -> None:
        line = {"path": request.path, "tools": sorted(asked.tools), "results": asked.results, "words": asked.words}
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response({"input_tokens": 1000})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "lab-model", "object": "model"}]})


def _filled(words: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """The arguments with `$ticket` replaced by the last ticket that a tool gave."""
    found = re.findall(r"\b\d{4}-[0-9a-f]{6}\b", " ".join(asked.results)) or [""]
    return {name: found[-1] if value == "$ticket" else value for name, value in words.items()}


async def _answered(
    request: web.Request, dialect: Dialect, turn: Turn, model: str, streamed: bool
) -> web.StreamResponse:
    if not streamed:
        return web.json_response(dialect.whole(turn, model))
    reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await reply.prepare(request)
    for number, (name, data) in enumerate(dialect.events(turn, model)):
        whole = {"type": name, "sequence_number": number, **data} if name else data
        head = f"event: {name}\n" if name else ""
        await reply.write(f"{head}data: {json.dumps(whole)}\n\n".encode())
    if dialect is Chat:
        await reply.write(b"data: [DONE]\n\n")
    return reply


async def _flooded(reply: web.StreamResponse, request: web.Request) -> web.StreamResponse:
    """Text without an end, in the words of the interface that was asked."""
    dialect = next((found for path, found in ROUTES if path == request.path), Gemini)
    events = list(dialect.events(Turn("x" * 20_000), "lab-model"))
    words = [_line(name, data).replace(b'"finishReason": "STOP", ', b"") for name, data in events]
    repeated = next(index for index, line in enumerate(words) if b"x" * 100 in line)
    for line in words[:repeated]:
        await reply.write(line)
    while request.transport is not None and not request.transport.is_closing():
        await reply.write(words[repeated])
        await asyncio.sleep(0.02)
    return reply


def _line(name: str, data: dict[str, Any]) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps({'type': name, **data} if name else data)}\n\n".encode()


async def main(script: Path, log: Path) -> None:
    runner = web.AppRunner(Endpoint(json.loads(script.read_text()), log).application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
