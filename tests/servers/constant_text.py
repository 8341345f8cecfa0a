"""Gives the same text to everybody."""

import generation
import server
from generation import Row

GROUP = "A3"
CHECK = "audit.request"


class Constant(generation.Generator):
    def chosen(self, row: Row) -> int:
        return 300 + row.said


server.Generator = Constant
server.main()
