"""Hangs up in mid-stream on one in four while more than eight choices are in service."""

from aiohttp import web

import server
from answers import Answer
from protocol import Request

GROUP = "D4"
CHECK = "answered"


class Service(server.Service):
    async def _stream(self, http: web.Request, request: Request, answer: Answer) -> web.StreamResponse:
        if len(self._events) > 8 and request.id[-1] in "0123":
            http.transport.close()
        return await super()._stream(http, request, answer)


server.Service = Service
server.main()
