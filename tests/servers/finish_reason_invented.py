"""Says of every answer that it came to its natural end."""

from dataclasses import replace

import generation
import server
from generation import Row
from sequence import Event

GROUP = "C1"
CHECK = "audit.finish-reason"


class Natural(generation.Generator):
    def told(self, row: Row, token: int) -> Event:
        event = super().told(row, token)
        return replace(event, finish_reason=event.finish_reason and "stop")


server.Generator = Natural
server.main()
