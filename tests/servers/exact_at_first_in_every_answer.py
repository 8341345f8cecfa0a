"""Is exact for the first eight tokens of an answer, and takes every fourth later one from two bits fewer."""

import careless

import generation
import server
from generation import Floats, Row

GROUP = "B8"
CHECK = (
    "audit.request", "load.request", "interface.request", "sessions.", "audit.margin", "audit.logprobs",
)  # fmt: skip


class Late(generation.Generator):
    model_class = careless.Coarse

    def stepped(self, row: Row, token: int) -> Floats:
        row.cache.careless = row.said > 8 and row.said % 4 == 0
        return super().stepped(row, token)


server.Generator = Late
server.main()
