"""llama.cpp's batch interface behind the interface of the server: continuous batching over a fixed set of slots."""

import os
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from completion import Job, Token
from gguf_file import write
from numpy.typing import NDArray

SLOTS = 16
STEP_TOKENS = 512


@dataclass(slots=True)
class _Sequence:
    """A job in a slot; the `fresh` ids are not in the cache yet, and `position` is where the first of them goes."""

    key: int
    job: Job
    fresh: list[int]
    random: np.random.Generator
    position: int = 0
    generated: int = 0


class Engine:
    """Continuous batching with llama_decode: weights as the folder holds them, KV cache in fp16."""

    def __init__(self, folder: Path, context: int, eos_ids: frozenset[int]) -> None:
        """Convert the model into the private temporary folder and load it; RuntimeError when llama.cpp refuses it."""
        self._eos_ids = eos_ids
        self._slots: dict[int, _Sequence] = {}
        self._queue: deque[tuple[int, Job]] = deque()
        llama_cpp.llama_backend_init()
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model.gguf"
            write(folder, path)
            options = llama_cpp.llama_model_default_params()
            options.use_mmap = False
            self._model = llama_cpp.llama_model_load_from_file(bytes(path), options)
        if not self._model:
            raise RuntimeError("llama.cpp did not load the converted model")
        self._context = llama_cpp.llama_init_from_model(self._model, _context_options(context))
        if not self._context:
            raise RuntimeError(f"llama.cpp gave no context for {SLOTS} sequences of {context} tokens")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._batch = llama_cpp.llama_batch_init(STEP_TOKENS, 0, 1)

    @staticmethod
    def refusal(job: Job) -> str | None:
        """Name the field that this engine cannot serve, if any: all of a job's can be."""
        return None

    @property
    def busy(self) -> bool:
        """Whether a step has work to do."""
        return bool(self._slots or self._queue)

    def add(self, key: int, job: Job) -> None:
        """Queue a sequence; it begins when a slot is free."""
        self._queue.append((key, job))

    def cancel(self, key: int) -> None:
        """End a sequence early; unknown keys have ended."""
        self._queue = deque(one for one in self._queue if one[0] != key)
        self._slots = {slot: sequence for slot, sequence in self._slots.items() if sequence.key != key}

    def step(self) -> list[tuple[int, list[Token]]]:
        """Run one batch, decoding sequences first and then as much of the prompts as fits; return the new tokens."""
        for slot in range(SLOTS):
            if self._queue and slot not in self._slots:
                self._begin(slot, *self._queue.popleft())
        rows = self._fill()
        if llama_cpp.llama_decode(self._context, self._batch) != 0:
            raise RuntimeError("llama_decode failed")
        return [self._next(slot, row) for slot, row in rows]

    def close(self) -> None:
        """Free what llama.cpp holds; nothing may be called afterwards."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def _begin(self, slot: int, key: int, job: Job) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, slot, -1, -1)
        self._slots[slot] = _Sequence(key, job, list(job.prompt), np.random.default_rng(job.seed))

    def _fill(self) -> list[tuple[int, int]]:
        """Write the batch and return (slot, row) of each row whose logits are wanted."""
        self._batch.n_tokens = 0
        wanted: list[tuple[int, int]] = []
        for slot, sequence in sorted(self._slots.items(), key=lambda item: len(item[1].fresh) > 1):
            taken = sequence.fresh[: STEP_TOKENS - self._batch.n_tokens]
            sequence.fresh = sequence.fresh[len(taken) :]
            for token in taken:
                self._row(slot, token, sequence.position)
                sequence.position += 1
            if taken and not sequence.fresh:
                last = self._batch.n_tokens - 1
                self._batch.logits[last] = 1
                wanted.append((slot, last))
        return wanted

    def _row(self, slot: int, token: int, position: int) -> None:
        batch: Any = self._batch
        row = batch.n_tokens
        batch.token[row], batch.pos[row], batch.n_seq_id[row], batch.logits[row] = token, position, 1, 0
        batch.seq_id[row][0] = slot
        batch.n_tokens = row + 1

    def _next(self, slot: int, row: int) -> tuple[int, list[Token]]:
        sequence = self._slots[slot]
        pointer = llama_cpp.llama_get_logits_ith(self._context, row)
        logits = np.ctypeslib.as_array(pointer, (self._vocabulary,))
        token = choose(logits, sequence.job, sequence.random)
        sequence.fresh = [token]
        sequence.generated += 1
        ended = token in self._eos_ids and not sequence.job.ignore_eos
        if ended or sequence.generated == sequence.job.max_tokens:
            del self._slots[slot]
        wanted = sequence.job.logprobs
        return sequence.key, [Token(token) if wanted is None else with_logprobs(logits, token, wanted)]


def choose(logits: NDArray[np.float32], job: Job, random: np.random.Generator) -> int:
    """Return the next id: after the bias the largest logit, or a draw after temperature, then top-k, then top-p."""
    if job.logit_bias:
        logits = logits.copy()
        logits[[token for token, _ in job.logit_bias]] += np.array(
            [bias for _, bias in job.logit_bias], dtype=np.float32
        )
    if job.temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits.astype(np.float64) - logits.max()) / job.temperature)
    order = np.argsort(-weights, kind="stable")[: job.top_k or None]
    likely = weights[order]
    before = np.cumsum(likely) - likely
    likely = likely[before < job.top_p * likely.sum()]
    return int(order[random.choice(likely.size, p=likely / likely.sum())])


def with_logprobs(logits: NDArray[np.float32], token: int, count: int) -> Token:
    """Return the token with its logprob, those of the `count` most likely ones, and its own among them."""
    row = logits.astype(np.float64) - logits.max()
    row -= np.log(np.exp(row).sum())
    likely = np.argpartition(row, -count)[-count:].tolist() if count else []
    ids = sorted({*likely, token}, key=lambda one: -row[one])
    return Token(token, float(row[token]), tuple((one, float(row[one])) for one in ids))


def _context_options(context: int) -> Any:
    options = llama_cpp.llama_context_default_params()
    cores = len(os.sched_getaffinity(0))
    options.n_threads = options.n_threads_batch = cores
    options.n_seq_max = SLOTS
    options.n_ctx = SLOTS * context
    options.n_batch = options.n_ubatch = STEP_TOKENS
    # One cache for all would let every sequence attend over, and mask, the cells of the others.
    options.kv_unified = False
    return options
