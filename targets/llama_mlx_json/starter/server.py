"""The HTTP server: health, the model list and chats, one answer at a time."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from chat import Choice, Refused, Request, parse
from decoding import Decoder, Step

LARGEST_BODY = 2**24


class Service:
    """Answers the routes; whoever came first has the model for itself."""

    def __init__(self, folder: Path) -> None:
        """Load the model; afterwards chats can be served."""
        self._name = folder.resolve().name
        self._template = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._decoder = Decoder(folder)
        self._turn = asyncio.Lock()

    async def health(self, _: web.Request) -> web.Response:
        """Answer 200: the model is loaded before the server listens."""
        return web.Response()

    async def models(self, _: web.Request) -> web.Response:
        """List the one model."""
        return web.json_response({"object": "list", "data": [{"id": self._name, "object": "model"}]})

    async def complete(self, http: web.Request) -> web.StreamResponse:
        """Answer a chat, whole or as a stream."""
        request = parse(await http.read(), self._name, self._decoder.size)
        prompt = self._prompt(request)
        if len(prompt) + request.max_tokens > self._decoder.context:
            message = f"{len(prompt)} tokens and max_tokens {request.max_tokens} exceed {self._decoder.context}"
            raise Refused(message, code="context_length_exceeded")
        if request.schema is not None:
            try:
                self._decoder.grammar(request.schema)
            except ValueError as fault:
                raise Refused(str(fault)) from fault
        async with self._turn:
            return await (self._stream if request.stream else self._whole)(http, request, prompt)

    def _prompt(self, request: Request) -> list[int]:
        text = self._template.apply_chat_template(request.messages, tokenize=False, add_generation_prompt=True)
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return found

    async def _grown(self, request: Request, prompt: list[int], number: int) -> AsyncIterator[Choice]:
        """One choice after each step that it takes."""
        choice = Choice(request, self._tokenizer, self._decoder.ends)
        seed = None if request.seed is None else (request.seed % 2**64, number)
        grammar = None if request.schema is None else self._decoder.grammar(request.schema)
        steps = self._decoder.steps(prompt, replace(request.choosing, seed=seed), grammar)
        while not choice.reason:
            choice.add(await asyncio.to_thread(_next, steps))
            yield choice

    async def _whole(self, http: web.Request, request: Request, prompt: list[int]) -> web.Response:
        choices = []
        for number in range(request.n):
            async for choice in self._grown(request, prompt, number):
                last = choice
            choices.append((last, {"index": number, **last.whole()}))
        said = {"choices": [shown for _, shown in choices], "usage": _usage(prompt, [one for one, _ in choices])}
        return web.json_response(said | ({"prompt_token_ids": prompt} if request.with_ids else {}))

    async def _stream(self, http: web.Request, request: Request, prompt: list[int]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(http)
        ended = []
        first = {"prompt_token_ids": prompt} if request.with_ids else {}
        for number in range(request.n):
            async for choice in self._grown(request, prompt, number):
                await response.write(_event({"choices": [{"index": number, **choice.piece()}], **first}))
                first = {}
            ended.append(choice)
        if request.include_usage:
            await response.write(_event({"choices": [], "usage": _usage(prompt, ended)}))
        await response.write(b"data: [DONE]\n\n")
        return response


def _next(steps: Iterator[Step]) -> Step:
    return next(steps)


def _usage(prompt: list[int], choices: list[Choice]) -> dict[str, int]:
    count = sum(len(choice.ids) for choice in choices)
    return {"prompt_tokens": len(prompt), "completion_tokens": count, "total_tokens": len(prompt) + count}


def _event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


@web.middleware
async def errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Give every refusal the error object of the protocol."""
    try:
        return await handler(request)
    except Refused as fault:
        refusal = fault
    except web.HTTPException as fault:
        refusal = Refused(fault.reason, fault.status)
    return web.json_response(refusal.body, status=refusal.status)


async def application(folder: Path) -> web.Application:
    """Load the model and return the application that serves it."""
    service = Service(folder)
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[errors])
    app.router.add_get("/health", service.health)
    app.router.add_get("/v1/models", service.models)
    app.router.add_post("/v1/chat/completions", service.complete)
    return app


def main() -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    app = application(options.model)
    web.run_app(
        app, host=options.host, port=options.port, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
    )


if __name__ == "__main__":
    main()
