"""Leaves out the last layer while more than six choices are in service."""

import careless

import generation
import server
from generation import Floats, Row

GROUP = "D8"
CHECK = "audit.request"


class Pressed(generation.Generator):
    model_class = careless.Shallow

    def stepped(self, row: Row, token: int) -> Floats:
        row.cache.careless = len(self.active) > 6
        return super().stepped(row, token)


server.Generator = Pressed
server.main()
