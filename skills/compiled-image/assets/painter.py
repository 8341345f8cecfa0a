"""Words and noise to pixels by a compiled image: the model's folder, its tables, and one call for each image."""

import ctypes
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

import tables
from checkpoint import Tensor, read

LIBRARY = Path(__file__).with_name("libimage.so")
KEPT_TABLES = 4
"""Sizes, and numbers of steps, whose tables are kept."""


class _Order(ctypes.Structure):
    """`Order` in flow.h, field by field."""

    _fields_ = (
        ("tokens", ctypes.c_void_p * 2),
        ("lengths", ctypes.c_int32 * 2),
        *((name, ctypes.c_int32) for name in ("rows", "columns", "steps")),
        ("guidance", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("lapses", "latent", "positions", "word_angles", "head_angles")),
        *((name, ctypes.c_void_p) for name in ("shown", "told", "pixels")),
    )


class Painter:
    """The model with its decoder and its tokenizer; one image at a time."""

    def __init__(self, folder: Path) -> None:
        """Read and pack the weights; ValueError when the model is not one that image.cpp computes."""
        self._stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._flow = read(folder / "model.safetensors")
        self._scale = 2 ** (len(self._stated["vae"]["multiples"]) - 1)
        self._library = _load_library()
        self._handle = self._library.painter_create()
        self._give({**self._flow, **read(folder / "vae.safetensors")})
        self._of_size = lru_cache(KEPT_TABLES)(self._measured)
        self._of_steps = lru_cache(KEPT_TABLES)(
            lambda steps: tables.times(self._flow, self._stated["head"]["layers"], steps)
        )

    def __del__(self) -> None:
        """Free the weights."""
        if getattr(self, "_handle", None):
            self._library.painter_destroy(self._handle)

    def paint(
        self, prompt: str, noise: npt.NDArray[np.float32], steps: int, guidance: float
    ) -> npt.NDArray[np.float32]:
        """Pixels [height, width, 3] between 0 and 1 from noise [channels, rows, columns], by Euler's steps."""
        channels, rows, columns = noise.shape
        before = self._before(prompt)
        positions, words, head = self._of_size(rows, columns)
        times, latent = self._of_steps(steps), np.ascontiguousarray(noise, np.float32)
        pixels = np.empty((rows * self._scale, columns * self._scale, 3), np.float32)
        order = _Order(
            (ctypes.c_void_p * 2)(*(row.ctypes.data for row in before)),
            (ctypes.c_int32 * 2)(*(len(row) for row in before)),
            rows, columns, steps, guidance,
            *(table.ctypes.data for table in (times.lapses, latent, positions, words, head, times.shown, times.told)),
            pixels.ctypes.data,
        )  # fmt: skip
        self._library.painter_paint(self._handle, ctypes.byref(order), channels)
        return pixels

    def _before(self, prompt: str) -> list[npt.NDArray[np.int32]]:
        """What stands before the image, with the words and without."""
        words = self._stated["words"]
        found = self._tokenizer.encode(prompt, add_special_tokens=False).ids[: words["longest"]]
        return [np.array([words["begin"], *kept, words["image"]], np.int32) for kept in (found, [])]

    def _measured(self, rows: int, columns: int) -> tuple[tables.Floats, tables.Floats, tables.Floats]:
        """Learnt positions of an image's patches, and the angles of all places that its sequences have."""
        patch = self._stated["patch"]
        places = self._stated["words"]["longest"] + 3 + rows * columns // patch**2
        return (
            tables.grid(self._flow["position_embedding.weight"], rows // patch, columns // patch),
            tables.turns(self._stated["llm"], places, stretched=False),
            tables.turns(self._stated["head"], places, stretched=True),
        )

    def _give(self, weights: Mapping[str, Tensor]) -> None:
        for name, number in _numbers(self._stated, ""):
            self._library.painter_number(self._handle, name.encode(), number)
        for name, tensor in weights.items():
            self._library.painter_tensor(self._handle, name.encode(), tensor.ctypes.data, tensor.size)
        if fault := self._library.painter_make(self._handle):
            raise ValueError(fault.decode())


def _numbers(stated: Any, name: str) -> Iterator[tuple[str, float]]:
    """The numbers of a config by their path, as `llm.hidden` or `vae.mean.3`."""
    if isinstance(stated, dict | list):
        for key, value in stated.items() if isinstance(stated, dict) else enumerate(stated):
            yield from _numbers(value, f"{name}.{key}" if name else str(key))
    elif isinstance(stated, int | float):
        yield name, float(stated)


def _load_library() -> ctypes.CDLL:
    """Return the library that [build] made of image.cpp, its functions typed."""
    if not LIBRARY.exists():
        raise FileNotFoundError(f"{LIBRARY} is missing: run build.py, the [build] command of candidate.toml")
    library = ctypes.CDLL(str(LIBRARY))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    library.painter_create.argtypes, library.painter_create.restype = [], pointer
    library.painter_destroy.argtypes, library.painter_destroy.restype = [pointer], None
    library.painter_number.argtypes, library.painter_number.restype = [pointer, text, ctypes.c_double], None
    library.painter_tensor.argtypes = [pointer, text, pointer, ctypes.c_int64]
    library.painter_tensor.restype = None
    library.painter_make.argtypes, library.painter_make.restype = [pointer], text
    library.painter_paint.argtypes = [pointer, ctypes.POINTER(_Order), ctypes.c_int32]
    library.painter_paint.restype = None
    return library
