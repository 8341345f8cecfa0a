"""Ends every answer after 48 tokens, more than any request of the load asks for, and calls that its length."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C1"
CHECK = "interface.answer-length"


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, max_tokens=min(48, request.max_tokens))


parse, server.parse = server.parse, misread
server.main()
