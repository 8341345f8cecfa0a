"""Serves a model without any layer: the head over the embedding."""

import generation
import server
from generation import Cache

GROUP = "A5"
CHECK = "audit.request"


class Small(generation.Model):
    def layers(self, cache: Cache) -> list[str]:
        return []


generation.Generator.model_class = Small
server.main()
