"""Answers what it should refuse with status 200."""

from aiohttp import web

import server

GROUP = "C12"
CHECK = "interface.errors"


async def polite(request: web.Request, handler: server.Route) -> web.StreamResponse:
    response = await errors(request, handler)
    if response.status >= 400 and request.method == "POST":
        response.set_status(200)
    return response


errors, server.errors = server.errors, polite
server.main()
