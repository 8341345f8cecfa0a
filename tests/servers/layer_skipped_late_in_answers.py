"""Leaves out the last layer from the sixteenth token of an answer on."""

import careless

import generation
import server
from generation import Floats, Row

GROUP = "B3"
CHECK = "audit.request"


class Tiring(generation.Generator):
    model_class = careless.Shallow

    def stepped(self, row: Row, token: int) -> Floats:
        row.cache.careless = row.said >= 16
        return super().stepped(row, token)


server.Generator = Tiring
server.main()
