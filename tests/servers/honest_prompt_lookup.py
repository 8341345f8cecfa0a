"""Guesses up to four tokens from what came before, keeps those that the model says too, and tells them in one event."""

import generation
import server
from generation import Floats, Row
from sequence import merge


class Looking(generation.Generator):
    def advance(self, row: Row) -> None:
        if not row.sequence.sampler.plain:
            super().advance(row)
            return
        real, self.deliver = self.deliver, row.notes.setdefault("events", []).extend
        super().advance(row)
        while row.notes.get("verified") and row in self.active:
            super().advance(row)
        self.deliver = real
        self.deliver([merge(row.notes.pop("events"))])

    def guesses(self, tokens: list[int]) -> list[int]:
        *before, last = tokens
        at = len(before) - before[::-1].index(last) if last in before else len(tokens)
        return tokens[at : at + 4]

    def stepped(self, row: Row, token: int) -> Floats:
        if row.notes.get("verified"):
            row.cache.length += 1
            return row.notes["verified"].pop(0)
        if not row.sequence.sampler.plain:
            return super().stepped(row, token)
        room = row.sequence.prompt_length + row.sequence.request.max_tokens - len(row.sequence.tokens) - 1
        guessed, start = self.guesses(row.sequence.tokens)[: max(0, room)], row.cache.length
        said = self.model.forward([token, *guessed], row.cache)
        right = [int(logits.argmax()) == guess for logits, guess in zip(said, guessed, strict=False)]
        agreed = [*right, False].index(False)
        row.cache.length = start + 1
        row.notes["verified"] = list(said[1 : agreed + 1])
        return said[0]


server.Generator = Looking
server.main()
