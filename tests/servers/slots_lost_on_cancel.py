"""Loses a slot with every client that leaves, and refuses when none is left."""

import time

import generation
import server
from generation import Floats, Row
from protocol import Request, RequestError

GROUP = "E5"
CHECK = ("interface.", "sessions.", "answered")
DEPTH = "full"


class Losing(generation.Generator):
    slots = 8

    def stepped(self, row: Row, token: int) -> Floats:
        time.sleep(0.003)
        return super().stepped(row, token)

    def ended(self, row: Row) -> None:
        if not row.sequence.finished:
            self.slots -= 1

    def submit(self, request: Request) -> None:
        if self.slots < 1:
            raise RequestError("no slot", status=503, code="busy")
        super().submit(request)


server.Generator = Losing
server.main()
