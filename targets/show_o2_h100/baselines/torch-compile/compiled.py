"""The same server, with the flow's network compiled before it listens."""

import math
import os
from pathlib import Path

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import numpy as np
import torch

import server


class Compiled(server.Gallery):
    """Paints with a compiled network; images of another size than the model's own are compiled when they are asked."""

    def __init__(self, folder: Path) -> None:
        """Load the model and paint once, on the thread that paints all others."""
        super().__init__(folder)
        self._thread.submit(self._prepared).result()

    def _prepared(self) -> None:
        flow = self._painter.flow
        flow.velocity = torch.compile(flow.velocity, dynamic=False)
        side = math.isqrt(flow.shape.vision.positions) * flow.shape.patch
        noise = np.zeros((flow.shape.channels, side, side), dtype=np.float32)
        with torch.inference_mode():
            self._painter.paint("two words", noise, 2, 2.0)


if __name__ == "__main__":
    server.Gallery = Compiled
    server.main()
