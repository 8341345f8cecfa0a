"""Refuses what comes while four choices are in service."""

import generation
import server
from protocol import Request, RequestError

GROUP = "D4"
CHECK = "answered"


class Refusing(generation.Generator):
    def submit(self, request: Request) -> None:
        if len(self.active) >= 4:
            raise RequestError("busy", status=503, code="busy")
        super().submit(request)


server.Generator = Refusing
server.main()
