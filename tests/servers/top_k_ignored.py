"""Takes `top_k` and does nothing with it."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C6"
CHECK = ("sampled.support", "interface.top-k", "interface.request", "sampled.surprisal")


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, top_k=0)


parse, server.parse = server.parse, misread
server.main()
