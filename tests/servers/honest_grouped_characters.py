"""Tells of tokens only when their text is complete, so that an event may carry several ids."""

import generation
import server
from generation import Row
from sequence import Event, merge


class Patient(generation.Generator):
    def advance(self, row: Row) -> None:
        real, self.deliver = self.deliver, row.notes.setdefault("held", []).extend
        super().advance(row)
        self.deliver, held = real, row.notes["held"]
        if row.sequence.finished or complete(held) or len(held) > 7:
            self.deliver([merge(held)])
            row.notes["held"] = []


def complete(held: list[Event]) -> bool:
    return bool(held[-1].text)


server.Generator = Patient
server.main()
