"""Refuses in plain words, without the error object of the protocol."""

from aiohttp import web

import server

GROUP = "C12"
CHECK = ("interface.errors", "interface.context-limit")


async def curt(request: web.Request, handler: server.Route) -> web.StreamResponse:
    response = await errors(request, handler)
    return web.Response(status=response.status, text="refused") if response.status >= 400 else response


errors, server.errors = server.errors, curt
server.main()
