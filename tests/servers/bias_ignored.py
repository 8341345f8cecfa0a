"""Takes `logit_bias` and does nothing with it."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C10"
CHECK = "interface.logit-bias"


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, logit_bias=())


parse, server.parse = server.parse, misread
server.main()
