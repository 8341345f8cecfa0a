"""Takes every temperature up to a half for nought."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C5"
CHECK = "sampled."
DEPTH = "full"


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, temperature=request.temperature if request.temperature > 0.5 else 0)


parse, server.parse = server.parse, misread
server.main()
