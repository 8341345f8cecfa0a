"""Goes on after the end token, as if everybody had asked for that."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C1"
CHECK = ("interface.end-token", "audit.finish-reason", "audit.end-token", "audit.request")


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, ignore_eos=True)


parse, server.parse = server.parse, misread
server.main()
