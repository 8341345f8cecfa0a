"""HTTP around an engine: one thread steps it, the event loop answers; the engine sees nothing but token ids."""

import argparse
import asyncio
import itertools
import os
import queue
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web
from completion import Answer, Body, Card, Choice, Job, Refusal, Token, read
from engine import Engine

Route = Callable[[web.Request], Awaitable[web.StreamResponse]]
New = list[tuple[int, list[Token]]]
Arrivals = asyncio.Queue[tuple[int, list[Token]]]
Command = tuple[int, Job | None] | None

LARGEST_BODY = 16 * 1024 * 1024


class EngineThread:
    """Feeds jobs to the engine and hands on the new tokens of each step as (key, tokens) pairs."""

    def __init__(self, engine: Engine, deliver: Callable[[New], None]) -> None:
        """Start the thread; `deliver` is called on it."""
        self._engine = engine
        self._deliver = deliver
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, key: int, job: Job | None) -> None:
        """Begin the job of that key, or end it early with None; safe from any thread."""
        self._commands.put((key, job))

    def close(self) -> None:
        """End the thread and the engine after the current step."""
        self._commands.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ending:
                while not self._commands.empty() or (not self._engine.busy and not self._ending):
                    self._obey(self._commands.get())
                self._deliver(self._engine.step() if self._engine.busy else [])
        finally:
            self._engine.close()
            if not self._ending:
                # Without this thread every request would hang: ending the process makes the failure visible.
                os.kill(os.getpid(), signal.SIGTERM)

    def _obey(self, command: Command) -> None:
        if command is None:
            self._ending = True
        elif command[1] is None:
            self._engine.cancel(command[0])
        else:
            self._engine.add(command[0], command[1])


class Service:
    """Answers the routes; one queue of (choice, tokens) for each request in flight."""

    def __init__(self, folder: Path) -> None:
        """Load the model and answer one short request with it, so that a server that listens is warm."""
        self._card = Card(folder)
        self._keys = itertools.count()
        self._waiting: dict[int, tuple[int, Arrivals]] = {}
        self._loop = asyncio.get_running_loop()
        self._engine = EngineThread(Engine(folder, self._card.context, self._card.eos_ids), self._from_thread)

    async def warm(self) -> None:
        """Run one job through the engine."""
        job = Job((0,) * 8, 4, 0.0, 1.0, 0, None, True, None, ())
        key = next(self._keys)
        arrived: Arrivals = asyncio.Queue()
        self._waiting[key] = (0, arrived)
        self._engine.submit(key, job)
        seen = 0
        while seen < job.max_tokens:
            seen += len((await arrived.get())[1])
        del self._waiting[key]

    async def close(self, _: web.Application) -> None:
        """End the engine."""
        self._engine.close()

    def routes(self) -> list[tuple[str, str, Route]]:
        """Method, path and handler of everything that is served."""
        return [
            ("GET", "/health", self.health),
            ("GET", "/v1/models", self.models),
            ("POST", "/v1/completions", self.completions),
        ]

    async def health(self, _: web.Request) -> web.Response:
        """Answer 200: the server listens when the model is loaded."""
        return web.Response()

    async def models(self, _: web.Request) -> web.Response:
        """List the one model."""
        return web.json_response({"object": "list", "data": [{"id": self._card.name, "object": "model"}]})

    async def completions(self, http: web.Request) -> web.StreamResponse:
        """Answer a completion request, whole or as a stream."""
        return await self.answered(http, read(await http.read()), Answer)

    async def answered(self, http: web.Request, body: Body, kind: type[Answer]) -> web.StreamResponse:
        """Answer a request, in the form that `kind` writes; Refusal names what this engine cannot serve."""
        jobs = self._card.jobs(body)
        for job in jobs:
            refuse = Engine.refusal(job)
            if refuse:
                raise Refusal(f"this engine is served without {refuse}", refuse)
        work = _Work(body, jobs, self._card, kind)
        keys = [next(self._keys) for _ in jobs]
        for index, (key, job) in enumerate(zip(keys, jobs, strict=True)):
            self._waiting[key] = (index, work.arrived)
            self._engine.submit(key, job)
        try:
            return await (self._stream(http, work) if body.stream else self._whole(work))
        finally:
            for key, choice in zip(keys, work.choices, strict=True):
                del self._waiting[key]
                if choice.finish_reason is None or choice.finish_reason == "stop":
                    self._engine.submit(key, None)

    async def _whole(self, work: "_Work") -> web.Response:
        shown: list[list[dict[str, Any]]] = [[] for _ in work.choices]
        while work.unfinished:
            for part in await work.next():
                shown[part["index"]].append(part)
        return web.Response(body=work.answer.whole(shown, work.choices), content_type="application/json")

    async def _stream(self, http: web.Request, work: "_Work") -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(http)
        first = True
        while work.unfinished:
            parts = await work.next()
            last = work.answer.closing(work.choices) if not work.unfinished else b""
            await response.write((work.answer.frame(parts, first) if parts else b"") + last)
            first = False
        return response

    def _from_thread(self, new: New) -> None:
        if new:
            self._loop.call_soon_threadsafe(self._dispatch, new)

    def _dispatch(self, new: New) -> None:
        for key, tokens in new:
            if key in self._waiting:
                index, arrived = self._waiting[key]
                arrived.put_nowait((index, tokens))


class _Work:
    """One request in flight."""

    def __init__(self, body: Body, jobs: list[Job], card: Card, kind: type[Answer]) -> None:
        self.answer = kind(body, jobs, card)
        self.choices = [Choice(index, job, body, card) for index, job in enumerate(jobs)]
        self.arrived: Arrivals = asyncio.Queue()
        self.unfinished = len(jobs)

    async def next(self) -> list[dict[str, Any]]:
        """Wait for tokens and return the choice objects that show them."""
        index, tokens = await self.arrived.get()
        choice = self.choices[index]
        if choice.finish_reason is not None:
            return []
        shown = [choice.take(tokens)]
        self.unfinished -= choice.finish_reason is not None
        return shown


async def errors(request: web.Request, handler: Route) -> web.StreamResponse:
    """Give every refusal the error object of the protocol."""
    try:
        return await handler(request)
    except Refusal as error:
        refusal = error
    except web.HTTPException as error:
        refusal = Refusal(error.reason, status=error.status)
    return web.Response(status=refusal.status, body=refusal.body(), content_type="application/json")


async def application(folder: Path, kind: type[Service] = Service) -> web.Application:
    """Load the model and return the application that serves it."""
    service = kind(folder)
    await service.warm()
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[web.middleware(errors)])
    app.on_cleanup.append(service.close)
    for method, path, handler in service.routes():
        app.router.add_route(method, path, handler)
    return app


def main(kind: type[Service] = Service) -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    web.run_app(
        application(options.model, kind),
        host=options.host,
        port=options.port,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=1.0,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
