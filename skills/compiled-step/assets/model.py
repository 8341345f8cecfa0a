"""The model of this candidate: one compiled step of a Llama or a Qwen3 over per-slot caches of keys and values."""

import ctypes
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from checkpoint import Architecture, Checkpoint, Tensor, read_architecture

THREADS = 2
TENSORS = 11  # of a layer, the last two only where queries and keys are normalised
LIBRARY = Path(__file__).with_name("libstep.so")
Logits = npt.NDArray[np.float32]


@dataclass(slots=True)
class Chunk:
    """Tokens to feed at positions start, start + 1, ... of a slot; `every` asks for logits of each, not of the last."""

    slot: int
    start: int
    tokens: list[int]
    every: bool = False


class _Shape(ctypes.Structure):
    """`Shape` in llama.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("hidden", "layers", "heads", "kv_heads", "head_dim", "intermediate")),
        *((name, ctypes.c_int32) for name in ("vocabulary", "slots", "context", "threads")),
        ("epsilon", ctypes.c_float),
        ("frequencies", ctypes.c_void_p),
    )


def _load_library() -> ctypes.CDLL:
    """Return the library that [build] made of step.cpp, its functions typed."""
    if not LIBRARY.exists():
        raise FileNotFoundError(f"{LIBRARY} is missing: run build.py, the [build] command of candidate.toml")
    library = ctypes.CDLL(str(LIBRARY))
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    library.model_create.argtypes, library.model_create.restype = [ctypes.POINTER(_Shape)], pointer
    library.model_destroy.argtypes, library.model_destroy.restype = [pointer], None
    library.model_load_layer.argtypes, library.model_load_layer.restype = [pointer, number, pointer], None
    library.model_load_ends.argtypes, library.model_load_ends.restype = [pointer] * 4, None
    library.model_step.argtypes = [pointer, pointer, number, pointer, pointer, number, pointer]
    library.model_step.restype = None
    library.model_copy_prefix.argtypes, library.model_copy_prefix.restype = [pointer, number, number, number], None
    return library


class Model:
    """A Llama or a Qwen3 with `slots` caches of `context` positions.

    Weights and products are bfloat16, sums and the residual float32.
    """

    def __init__(self, folder: Path, slots: int, context: int) -> None:
        """Read and pack the weights; ValueError when the model is not one that step.cpp computes."""
        architecture = read_architecture(Path(folder))
        self.vocabulary = architecture.vocabulary
        self.context = min(context, architecture.context)
        self.slots = slots
        self.eos_ids = architecture.eos_ids
        self._width = -(-architecture.vocabulary // 16) * 16
        self._library = _load_library()
        a = architecture
        sizes = (a.hidden, a.layers, a.heads, a.kv_heads, a.head_dim, a.intermediate, a.vocabulary)
        threads = min(THREADS, _processors())
        shape = _Shape(*sizes, slots, self.context, threads, a.epsilon, a.frequencies.ctypes.data)
        self._handle = self._library.model_create(ctypes.byref(shape))
        self._load(Checkpoint(Path(folder)), architecture)

    def __del__(self) -> None:
        """Stop the threads and free the weights."""
        if getattr(self, "_handle", None):
            self._library.model_destroy(self._handle)

    def step(self, chunks: Sequence[Chunk]) -> Logits:
        """Write the keys and values of all chunks and return logits [rows, vocabulary], rows in chunk order.

        The slots of one step differ; ValueError when a slot, position or token lies outside the model.
        """
        sys.audit("serving.begin", _phase(chunks), sum(len(chunk.tokens) for chunk in chunks))
        layout = np.array([(c.slot, c.start, len(c.tokens)) for c in chunks], np.int32).reshape(-1, 3)
        tokens = np.array([token for c in chunks for token in c.tokens], np.int32)
        self._refuse_outside(layout, tokens)
        wanted = _wanted_rows(chunks)
        logits = np.empty((len(wanted), self._width), np.float32)
        if len(chunks):
            self._library.model_step(
                self._handle,
                layout.ctypes.data,
                len(chunks),
                tokens.ctypes.data,
                wanted.ctypes.data,
                len(wanted),
                logits.ctypes.data,
            )
        sys.audit("serving.end")
        return logits[:, : self.vocabulary]

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Copy the keys and values of positions 0 to length - 1 from slot `source` to slot `target`."""
        if not (0 <= source < self.slots and 0 <= target < self.slots and 0 <= length <= self.context):
            room = f"{self.slots} slots of {self.context} positions"
            raise ValueError(f"copy_prefix({source}, {target}, {length}) lies outside {room}")
        if source != target and length:
            self._library.model_copy_prefix(self._handle, source, target, length)

    def _refuse_outside(self, layout: npt.NDArray[np.int32], tokens: npt.NDArray[np.int32]) -> None:
        slots, starts, lengths = layout.T
        if np.any(slots < 0) or np.any(slots >= self.slots) or len(set(slots.tolist())) < len(slots):
            raise ValueError(f"slots {slots.tolist()}: each step takes different slots below {self.slots}")
        if np.any(lengths < 1) or np.any(starts < 0) or np.any(starts + lengths > self.context):
            raise ValueError(f"chunks must hold tokens and end within the context of {self.context}")
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.vocabulary):
            raise ValueError(f"token ids must lie in [0, {self.vocabulary})")

    def _load(self, checkpoint: Checkpoint, a: Architecture) -> None:
        checkpoint.refuse_biases()
        queries, keys = a.heads * a.head_dim, a.kv_heads * a.head_dim
        shapes = {
            "self_attn.q_proj": (queries, a.hidden),
            "self_attn.k_proj": (keys, a.hidden),
            "self_attn.v_proj": (keys, a.hidden),
            "self_attn.o_proj": (a.hidden, queries),
            "mlp.gate_proj": (a.intermediate, a.hidden),
            "mlp.up_proj": (a.intermediate, a.hidden),
            "mlp.down_proj": (a.hidden, a.intermediate),
            "input_layernorm": (a.hidden,),
            "post_attention_layernorm": (a.hidden,),
            **(dict.fromkeys(("self_attn.q_norm", "self_attn.k_norm"), (a.head_dim,)) if a.normed else {}),
        }
        for layer in range(a.layers):
            tensors = [checkpoint.tensor(f"model.layers.{layer}.{n}.weight", s) for n, s in shapes.items()]
            self._library.model_load_layer(self._handle, layer, _pointers(tensors, TENSORS))
        embedding = checkpoint.tensor("model.embed_tokens.weight", (a.vocabulary, a.hidden))
        norm = checkpoint.tensor("model.norm.weight", (a.hidden,))
        head = embedding if a.tied else checkpoint.tensor("lm_head.weight", (a.vocabulary, a.hidden))
        self._library.model_load_ends(self._handle, embedding.ctypes.data, norm.ctypes.data, head.ctypes.data)


def _phase(chunks: Sequence[Chunk]) -> str:
    """Say what a step is for, to a profiler that listens to audit events: reading prompts, or the next tokens."""
    return "prefill" if any(len(chunk.tokens) > 1 and not chunk.every for chunk in chunks) else "decode"


def _wanted_rows(chunks: Sequence[Chunk]) -> npt.NDArray[np.int32]:
    wanted: list[int] = []
    end = 0
    for chunk in chunks:
        end += len(chunk.tokens)
        wanted.extend(range(end - (len(chunk.tokens) if chunk.every else 1), end))
    return np.array(wanted, np.int32)


def _processors() -> int:
    """Return how many processors this process may use: more threads than that only wait for each other."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pointers(tensors: list[Tensor], count: int) -> ctypes.Array[ctypes.c_void_p]:
    """Return `count` pointers: those of the tensors, and null for those that the model does not have."""
    return (ctypes.c_void_p * count)(*(tensor.ctypes.data for tensor in tensors))
