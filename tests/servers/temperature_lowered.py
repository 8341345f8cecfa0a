"""Samples at seven tenths of the temperature that was asked for, which looks more sensible."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C6"
CHECK = ("sampled.surprisal", "sampled.ranks")


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, temperature=0.7 * request.temperature)


parse, server.parse = server.parse, misread
server.main()
