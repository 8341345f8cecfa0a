"""Takes every seed for the same one."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C7"
CHECK = "interface.seed"


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, seed=None if request.seed is None else 7)


parse, server.parse = server.parse, misread
server.main()
