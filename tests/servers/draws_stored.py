"""Draws once for each prompt and gives the same draw to whoever asks again without a seed."""

import generation
import server
from generation import Row

GROUP = "A1"
CHECK = ("repeats.sampled", "sampled.copies")


class Drawn(generation.Generator):
    def __init__(self, *arguments: object) -> None:
        self.draws: dict[tuple[object, ...], int] = {}
        super().__init__(*arguments)

    def chosen(self, row: Row) -> int:
        request = row.sequence.request
        if not request.temperature or request.seed is not None:
            return super().chosen(row)
        key = (*row.sequence.tokens, request.temperature, request.top_p, request.top_k, row.sequence.index)
        return self.draws.setdefault(key, super().chosen(row))


server.Generator = Drawn
server.main()
