"""Leaves out the last decoder layer."""

import generation
import server
from generation import Cache

GROUP = "B3"
CHECK = "audit.request"


class Shallow(generation.Model):
    def layers(self, cache: Cache) -> list[str]:
        return super().layers(cache)[:-1]


generation.Generator.model_class = Shallow
server.main()
