"""Rotates queries and keys by another base than the model was made with."""

import generation
import server

GROUP = "B5"
CHECK = "audit.request"


class Turned(generation.Model):
    def base(self) -> float:
        return 2 * super().base()


generation.Generator.model_class = Turned
server.main()
