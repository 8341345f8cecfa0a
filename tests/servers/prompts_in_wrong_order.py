"""Answers a list of prompts in the opposite order."""

from dataclasses import replace

import server
from protocol import Request

GROUP = "C12"
CHECK = ("interface.prompts", "interface.request")


def misread(*arguments: object) -> Request:
    request = parse(*arguments)
    return replace(request, prompts=request.prompts[::-1])


parse, server.parse = server.parse, misread
server.main()
