"""Frees the newest keys and values of everybody when one client leaves."""

import time

import generation
import server
from generation import Floats, Row

GROUP = "E5"
CHECK = ("interface.", "sessions.")
DEPTH = "full"


class Freeing(generation.Generator):
    def stepped(self, row: Row, token: int) -> Floats:
        time.sleep(0.003)
        return super().stepped(row, token)

    def ended(self, row: Row) -> None:
        if not row.sequence.finished:
            for other in self.active:
                other.cache.parts[:, :, other.cache.length // 2 : other.cache.length] = 0


server.Generator = Freeing
server.main()
