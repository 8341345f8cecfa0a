"""Takes `top_p` and does nothing with it."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C6"
CHECK = "sampled.support"


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, top_p=1.0)


parse, server.parse = server.parse, misread
server.main()
