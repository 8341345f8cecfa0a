"""Safetensors files as bfloat16 numbers, each sixteen bits in a uint16."""

import json
import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[np.uint16]


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a file; float32 is rounded to bfloat16, and ValueError is raised for any other precision."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(data[:8], "little")
    found = {}
    for name, stated in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, last = (8 + length + place for place in stated["data_offsets"])
            found[name] = _tensor(name, stated["dtype"], data[first:last]).reshape(stated["shape"])
    return found


def widened(tensor: Tensor) -> npt.NDArray[np.float32]:
    """The numbers as float32."""
    return (tensor.astype(np.uint32) << 16).view(np.float32)


def _tensor(name: str, dtype: str, raw: bytes) -> Tensor:
    if dtype == "BF16":
        return np.frombuffer(raw, np.uint16)
    if dtype == "F32":
        bits = np.frombuffer(raw, np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    raise ValueError(f"{name} is {dtype}: weights are read as BF16 or F32")
