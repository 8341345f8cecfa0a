"""Ends after twenty requests."""

import itertools
import os

import generation
import server
from protocol import Request

GROUP = "D4"
CHECK = "service.alive"


class Mortal(generation.Generator):
    asked = itertools.count()

    def submit(self, request: Request) -> None:
        if next(self.asked) >= 20:
            os._exit(0)
        super().submit(request)


server.Generator = Mortal
server.main()
