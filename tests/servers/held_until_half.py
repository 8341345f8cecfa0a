"""Sends nothing of a stream before half of it is there, and then what it has, one event after the other."""

import time

import generation
import server
from generation import Row

GROUP = "D3"
CHECK = "stream."


class Halving(generation.Generator):
    def advance(self, row: Row) -> None:
        time.sleep(0.015)
        real, self.deliver = self.deliver, row.notes.setdefault("events", []).extend
        super().advance(row)
        self.deliver = real
        if 2 * row.said >= row.sequence.request.max_tokens or row.sequence.finished:
            for event in row.notes["events"]:
                self.deliver([event])
                time.sleep(0.0002)
            row.notes["events"].clear()


server.Generator = Halving
server.main()
