"""Has no time for prompts of more than sixty tokens while others are in service."""

import generation
import server
from protocol import Request, RequestError

GROUP = "D5"
CHECK = "answered"


class Refusing(generation.Generator):
    def submit(self, request: Request) -> None:
        if self.active and max(map(len, request.prompts)) > 60:
            raise RequestError("busy", status=429, code="busy")
        super().submit(request)


server.Generator = Refusing
server.main()
