"""Takes every second token from a draft model of one layer, which nobody verifies."""

import careless

import generation
import server
from generation import Floats, Row

GROUP = "A6"
CHECK = "audit.request"


class Drafting(generation.Generator):
    model_class = careless.Shallow

    def stepped(self, row: Row, token: int) -> Floats:
        row.cache.careless = row.said % 2 == 1
        return super().stepped(row, token)


server.Generator = Drafting
server.main()
