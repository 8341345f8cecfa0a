"""Draws from nine tenths of the nucleus that was asked for."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C6"
CHECK = ("sampled.surprisal", "sampled.ranks")
DEPTH = "full"


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, top_p=0.9 * request.top_p)


parse, server.parse = server.parse, misread
server.main()
