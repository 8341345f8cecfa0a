"""Never says the eighth of the vocabulary that looks rarest."""

import numpy as np

import generation
import server
from generation import Floats

GROUP = "B6"
CHECK = "audit.request"


class Pruned(generation.Model):
    def head(self, hidden: Floats) -> Floats:
        logits = super().head(hidden)
        logits[:, np.arange(2, logits.shape[1], 8)] = -30
        return logits


generation.Generator.model_class = Pruned
server.main()
