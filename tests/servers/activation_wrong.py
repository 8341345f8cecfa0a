"""Gates by GELU where the model was made with SiLU."""

import numpy as np

import generation
import server
from generation import Floats

GROUP = "B5"
CHECK = "audit.request"


class Gelu(generation.Model):
    def gated(self, gate: Floats) -> Floats:
        return gate / (1 + np.exp(-1.702 * gate))


generation.Generator.model_class = Gelu
server.main()
