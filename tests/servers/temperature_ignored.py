"""Samples at temperature one whatever is asked for."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C6"
CHECK = ("sampled.surprisal", "sampled.support", "sampled.ranks")


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, temperature=1.0 if request.temperature else 0.0)


parse, server.parse = server.parse, misread
server.main()
