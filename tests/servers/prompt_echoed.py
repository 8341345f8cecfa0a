"""Says the prompt again instead of asking the model."""

import generation
import server
from generation import Row

GROUP = "A8"
CHECK = "audit.request"


class Echo(generation.Generator):
    def chosen(self, row: Row) -> int:
        given = self.prompt(row.sequence)[1:] or [5]
        return given[row.said % len(given)]


server.Generator = Echo
server.main()
