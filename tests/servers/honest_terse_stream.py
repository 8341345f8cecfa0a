"""Writes its streams another way: comments, carriage returns, no blanks, an end without tokens, and it hangs up."""

import json
from dataclasses import replace

from aiohttp import web

import answers
import server
from sequence import Event


class Terse(answers.Answer):
    def frame(self, event: Event) -> bytes:
        if event.finish_reason is None:
            return rewritten(super().frame(event))
        said = super().frame(replace(event, finish_reason=None)) if event.token_ids else b""
        ended = replace(event, token_ids=(), text="", logprobs=(), offsets=())
        return rewritten(said) + rewritten(super().frame(ended))

    def closing(self) -> bytes:
        return rewritten(super().closing())


def rewritten(frames: bytes) -> bytes:
    """The same events, spelt otherwise."""
    told = []
    for frame in frames.split(b"\n\n"):
        if frame.startswith(b"data: {"):
            body = json.dumps(json.loads(frame[6:]), separators=(",", ":"), ensure_ascii=False, sort_keys=True)
            told.append(b": still here\r\nevent: message\r\ndata:" + body.encode() + b"\r\n\r\n")
        elif frame:
            told.append(frame.replace(b"data: ", b"data:") + b"\r\n\r\n")
    return b"".join(told)


class Service(server.Service):
    async def completions(self, http: web.Request) -> web.StreamResponse:
        http._keepalive = False  # aiohttp has no public way to end one connection after its answer
        return await super().completions(http)


server.Answer = Terse
server.Service = Service
server.main()
