"""What this machine reaches: bytes read and operations done per second, measured on its CPU, GPU or Metal device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from pytest_vibeserve.errors import UsageError

LARGEST_BUFFER = 256 << 20
LEAST_BUFFER = 1 << 16
_CPU_SIDE, _GPU_SIDE = 1024, 8192
_GPU_BUFFER = 4 << 30


@dataclass(frozen=True, slots=True)
class Machine:
    """Bytes read per second, and operations per second in matrix products, whichever precision is the fastest.

    They are those of one of its `devices`.
    """

    bytes_per_s: float
    operations_per_s: float
    devices: int = 1

    def best(self, other: Machine) -> Machine:
        """The better of two measurements of each."""
        fastest = max(self.operations_per_s, other.operations_per_s)
        return Machine(max(self.bytes_per_s, other.bytes_per_s), fastest, max(self.devices, other.devices))


def machine(backend: str = "cpu", working_set: int = LARGEST_BUFFER) -> Machine:
    """Rates of all cores, or of one device, best of several short runs; the bytes are those of a buffer of this size.

    What fits a cache is read at the cache's speed, by a server too: the size of the model's weights is the one to ask.
    UsageError when the backend's library or device is not there.
    """
    return RATES[backend](_buffer(working_set))


def measured_again(backend: str, working_set: int) -> Machine:
    """The same, measured anew."""
    return RATES[backend].__wrapped__(_buffer(working_set))


def _buffer(working_set: int) -> int:
    return 1 << max(LEAST_BUFFER, min(working_set, LARGEST_BUFFER)).bit_length() - 1


@cache
def _cpu(size: int) -> Machine:
    import torch

    buffer = torch.ones(size // 4, dtype=torch.float32)
    products = []
    for dtype in (torch.bfloat16, torch.float32):
        square = torch.ones(_CPU_SIDE, _CPU_SIDE, dtype=dtype)
        products.append(_best(lambda square=square: square @ square, 10))  # type: ignore[misc]
    passes = max(1, (LARGEST_BUFFER >> 4) // size)
    read = _best(lambda: [buffer.sum() for _ in range(passes)], 5) / passes
    return Machine(size / read, 2 * _CPU_SIDE**3 / min(products))


@cache
def _cuda(_size: int) -> Machine:
    import torch

    if not torch.cuda.is_available():
        raise UsageError("the target's backend is cuda, and torch sees no CUDA device: run the gate where the GPU is")
    free, _ = torch.cuda.mem_get_info()
    buffer = torch.ones(min(_GPU_BUFFER, free // 4) // 4, dtype=torch.float32, device="cuda")
    square = torch.ones(_GPU_SIDE, _GPU_SIDE, dtype=torch.bfloat16, device="cuda")

    def read() -> None:
        buffer.sum()
        torch.cuda.synchronize()

    def product() -> None:
        torch.matmul(square, square)
        torch.cuda.synchronize()

    size = buffer.numel() * buffer.element_size()
    return Machine(size / _best(read, 5), 2 * _GPU_SIDE**3 / _best(product, 5), torch.cuda.device_count())


@cache
def _metal(size: int) -> Machine:
    try:
        import mlx.core as mx  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UsageError("the target's backend is metal: pip install 'pytest-vibeserve[mlx]'") from None
    buffer = mx.ones(size // 4, dtype=mx.float32)
    square = mx.ones((_GPU_SIDE // 2, _GPU_SIDE // 2), dtype=mx.float16)
    read = _best(lambda: mx.eval(buffer.sum()), 5)
    product = _best(lambda: mx.eval(square @ square), 5)
    return Machine(size / read, 2 * (_GPU_SIDE // 2) ** 3 / product)


RATES = {"cpu": _cpu, "cuda": _cuda, "metal": _metal}


def _best(work: Callable[[], object], repeats: int) -> float:
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
