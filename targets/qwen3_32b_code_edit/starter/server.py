"""The HTTP server: health, the model list and completions."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from aiohttp import web

import environment  # noqa: F401
from answers import Answer
from card import Card, read_card
from generation import Generator
from protocol import Request, RequestError, parse
from sequence import Event
from text import Vocabulary

Route = Callable[[web.Request], Awaitable[web.StreamResponse]]

LARGEST_BODY = 16 * 1024 * 1024
LONGEST = 8_192
"""Tokens of prompt and answer together that are served, where the model knows so many places."""


class Service:
    """Answers the routes; one queue of events for each request in flight."""

    def __init__(self, folder: Path) -> None:
        """Load the model; afterwards requests can be served."""
        card = read_card(folder)
        self._card: Card = replace(card, context=min(card.context, LONGEST))
        self._vocabulary = Vocabulary(folder)
        self._events: dict[str, asyncio.Queue[Event]] = {}
        self._loop = asyncio.get_running_loop()
        self._generator = Generator(folder, self._card, self._vocabulary, self._from_thread)

    async def health(self, _: web.Request) -> web.Response:
        """Answer 200: the model is loaded before the server listens."""
        return web.Response()

    async def models(self, _: web.Request) -> web.Response:
        """List the one model."""
        return web.json_response({"object": "list", "data": [{"id": self._card.name, "object": "model"}]})

    async def completions(self, http: web.Request) -> web.StreamResponse:
        """Answer a completion request, whole or as a stream."""
        request = parse(await http.read(), self._card, self._vocabulary)
        answer = Answer(request, self._card.name, self._vocabulary)
        self._events[request.id] = asyncio.Queue()
        self._generator.submit(request)
        try:
            if request.stream:
                return await self._stream(http, request, answer)
            return await self._whole(request, answer)
        finally:
            del self._events[request.id]
            if not answer.complete:
                self._generator.cancel(request)

    async def _whole(self, request: Request, answer: Answer) -> web.Response:
        events: list[Event] = []
        unfinished = len(request.prompts) * request.n
        while unfinished:
            event = await self._events[request.id].get()
            events.append(event)
            unfinished -= event.finish_reason is not None
        return web.Response(body=answer.whole(events), content_type="application/json")

    async def _stream(self, http: web.Request, request: Request, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(http)
        while not answer.complete:
            frame = answer.frame(await self._events[request.id].get())
            if frame:
                await response.write(frame)
        await response.write(answer.closing())
        return response

    def _from_thread(self, events: list[Event]) -> None:
        self._loop.call_soon_threadsafe(self._dispatch, events)

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            waiting = self._events.get(event.request_id)
            if waiting is not None:
                waiting.put_nowait(event)


async def errors(request: web.Request, handler: Route) -> web.StreamResponse:
    """Give every refusal the error object of the protocol."""
    try:
        return await handler(request)
    except RequestError as error:
        refusal = error
    except web.HTTPException as error:
        refusal = RequestError(error.reason, status=error.status)
    return web.Response(status=refusal.status, body=refusal.body(), content_type="application/json")


async def application(folder: Path) -> web.Application:
    """Load the model and return the application that serves it."""
    service = Service(folder)
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[web.middleware(errors)])
    app.router.add_get("/health", service.health)
    app.router.add_get("/v1/models", service.models)
    app.router.add_post("/v1/completions", service.completions)
    return app


def main() -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    web.run_app(
        application(options.model),
        host=options.host,
        port=options.port,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=1.0,
    )


if __name__ == "__main__":
    main()
