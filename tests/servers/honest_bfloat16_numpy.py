"""Rounds every product to bfloat16, as an accelerator would."""

import numpy as np

import generation
import server
from generation import Floats


def bfloat16(values: Floats) -> Floats:
    """Round to nearest even on the upper sixteen bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


class Rounded(generation.Model):
    def product(self, values: Floats, name: str) -> Floats:
        return bfloat16(super().product(bfloat16(values), name))

    def stored(self, vectors: Floats) -> Floats:
        return bfloat16(vectors)


generation.Generator.model_class = Rounded
if __name__ == "__main__":
    server.main()
