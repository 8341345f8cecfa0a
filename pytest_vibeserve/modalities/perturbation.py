"""A secret copy of a model's weights, far enough from the original to be told apart."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.canary import doubled, write_copy
from pytest_vibeserve.modalities.conclusion import passed_over


@contextmanager
def perturbed(model: Path, draws: random.Random, far: Callable[[Path], bool]) -> Iterator[Path]:
    """A folder with the copy, in the block; its strength is doubled until `far` says that it shows."""
    with TemporaryDirectory(prefix="vibeserve-canary-") as place:
        seed = draws.getrandbits(63)
        for folder, strength in doubled(Path(place)):
            write_copy(model, folder, seed, strength)
            if far(folder):
                Path(place).chmod(0o755)
                yield folder
                return
    raise InfrastructureError(f"{model}: perturbed weights do not show in what the model says")


def left_to_full(bench: Bench) -> bool:
    """Whether a quick gate leaves the copy out; then it says so."""
    if bench.depth == "quick":
        words = "left to the full gate: answers made from weights known beforehand would not be seen"
        passed_over(bench, "canary.weights", words)
    return bench.depth == "quick"
