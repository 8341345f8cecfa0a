"""Generates half of what was asked for, and calls it the whole length."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C1"
CHECK = "audit.max-tokens"


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, max_tokens=(request.max_tokens + 1) // 2)


parse, server.parse = server.parse, misread
server.main()
