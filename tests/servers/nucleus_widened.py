"""Takes a nucleus of `top_p` half as far from one as was asked for."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C6"
CHECK = ("sampled.support", "sampled.surprisal", "sampled.ranks")
DEPTH = "full"


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, top_p=(1 + request.top_p) / 2)


parse, server.parse = server.parse, misread
server.main()
