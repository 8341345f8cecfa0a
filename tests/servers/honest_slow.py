"""Takes its time: three milliseconds more for every token."""

import time

import generation
import server
from generation import Floats, Row


class Slow(generation.Generator):
    def stepped(self, row: Row, token: int) -> Floats:
        time.sleep(0.003)
        return super().stepped(row, token)


server.Generator = Slow
server.main()
