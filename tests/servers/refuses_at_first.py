"""Says that it is ready and refuses the first three requests."""

import itertools

import generation
import server
from protocol import Request, RequestError

GROUP = "D10"
CHECK = "answered"


class Waking(generation.Generator):
    asked = itertools.count()

    def submit(self, request: Request) -> None:
        if next(self.asked) < 3:
            raise RequestError("loading", status=503, code="loading")
        super().submit(request)


server.Generator = Waking
server.main()
