"""Goes on with an answer after it was sent, in case that somebody asks for its continuation."""

import generation
import server
from generation import Row

GROUP = "D11"
CHECK = "physics.after-work"


class Ahead(generation.Generator):
    def __init__(self, *arguments: object) -> None:
        self.past: list[Row] = []
        super().__init__(*arguments)

    def ended(self, row: Row) -> None:
        self.past.append(row)

    def admit(self) -> None:
        while self.past and self.waiting.empty() and not self.active:
            row = self.past[0]
            if row.cache.length >= min(row.sequence.prompt_length + 400, self.card.context - 1):
                self.past.pop(0)
            else:
                row.logits = self.stepped(row, int(row.logits.argmax()))
        super().admit()


server.Generator = Ahead
server.main()
