"""The zoo's own engine, in place of the starter's: the same model in numpy, many choices in turn.

Every step of the computation is a method of its own, so that a cheat is a subclass that changes one of them.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from card import Card
from protocol import Request
from sampling import TokenLogprobs, token_logprobs
from sequence import Event, Sequence, begin
from text import Vocabulary

Floats = NDArray[np.float32]
Deliver = Callable[[list[Event]], None]
YIELD_S = 0.0005


class Cache:
    """Keys and values [layers, 2, context, kv heads, head dim] of one choice, of which `length` are written."""

    def __init__(self, layers: int, context: int, heads: int, width: int) -> None:
        self.parts = np.zeros((layers, 2, context, heads, width), np.float32)
        self.length = 0


class Model:
    """A Llama in float32 with the weights as given."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.heads, self.kv_heads = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        self.width, self.depth = self.config["head_dim"], self.config["num_hidden_layers"]
        self.weights = {name: self.kept(name, weight) for name, weight in read_weights(folder / "model.safetensors")}

    def kept(self, name: str, weight: Floats) -> Floats:
        """A weight as it is kept in memory."""
        return weight

    def cache(self) -> Cache:
        """An empty cache."""
        return Cache(self.depth, self.config["max_position_embeddings"], self.kv_heads, self.width)

    def forward(self, tokens: list[int], cache: Cache) -> Floats:
        """Logits [n, vocabulary] after each of the next tokens; their keys and values are added to the cache."""
        places = self.places(cache, len(tokens))
        hidden = self.weights["model.embed_tokens.weight"][tokens]
        for layer in self.layers(cache):
            hidden = hidden + self.attention(layer, self.normed(hidden, f"{layer}.input_layernorm"), cache, places)
            hidden = hidden + self.mlp(layer, self.normed(hidden, f"{layer}.post_attention_layernorm"))
        cache.length += len(tokens)
        return self.head(self.normed(hidden, "model.norm"))

    def layers(self, cache: Cache) -> list[str]:
        """The layers to run, in order."""
        return [f"model.layers.{index}" for index in range(self.depth)]

    def places(self, cache: Cache, count: int) -> NDArray[np.int64]:
        """The positions of the next tokens."""
        return np.arange(cache.length, cache.length + count)

    def base(self) -> float:
        """The rotary base."""
        return float(self.config["rope_parameters"]["rope_theta"])

    def normed(self, hidden: Floats, name: str) -> Floats:
        """Root mean square normalisation."""
        scale = np.sqrt(np.square(hidden).mean(-1, keepdims=True) + np.float32(self.config["rms_norm_eps"]))
        return hidden / scale * self.weights[f"{name}.weight"]

    def product(self, values: Floats, name: str) -> Floats:
        """Values times the transposed weight."""
        return values @ self.weights[f"{name}.weight"].T

    def attention(self, layer: str, hidden: Floats, cache: Cache, places: NDArray[np.int64]) -> Floats:
        """Grouped-query attention of the new tokens over everything that came before them."""
        count, end = len(hidden), cache.length + len(hidden)
        queries = self.product(hidden, f"{layer}.self_attn.q_proj").reshape(count, self.heads, self.width)
        keys = self.product(hidden, f"{layer}.self_attn.k_proj").reshape(count, self.kv_heads, self.width)
        values = self.product(hidden, f"{layer}.self_attn.v_proj").reshape(count, self.kv_heads, self.width)
        stored = cache.parts[int(layer.rsplit(".", 1)[1])]
        stored[0, cache.length : end] = self.stored(self.rotated(keys, places))
        stored[1, cache.length : end] = self.stored(values)
        mixed = self.attended(self.rotated(queries, places), stored[:, :end], self.visible(cache, count))
        return self.product(mixed.reshape(count, -1), f"{layer}.self_attn.o_proj")

    def rotated(self, vectors: Floats, places: NDArray[np.int64]) -> Floats:
        """Rotary embedding of [n, heads, width], halves paired."""
        half = self.width // 2
        angles = places[:, None] * self.base() ** (-np.arange(half) / half)
        cosine, sine = np.cos(angles)[:, None].astype(np.float32), np.sin(angles)[:, None].astype(np.float32)
        first, second = vectors[..., :half], vectors[..., half:]
        return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1)

    def stored(self, vectors: Floats) -> Floats:
        """Keys or values as the cache keeps them."""
        return vectors

    def visible(self, cache: Cache, count: int) -> NDArray[np.bool_]:
        """What each new token may look at, [n, length + n]."""
        return np.arange(cache.length + count) <= np.arange(cache.length, cache.length + count)[:, None]

    def attended(self, queries: Floats, stored: Floats, visible: NDArray[np.bool_]) -> Floats:
        """The mixture of values for queries [n, heads, width]."""
        group = self.heads // self.kv_heads
        asked = queries.reshape(len(queries), self.kv_heads, group, self.width).transpose(1, 2, 0, 3)
        scores = asked @ stored[0].transpose(1, 2, 0)[:, None] / np.float32(np.sqrt(self.width))
        scores = np.where(visible, scores, np.float32(-np.inf))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ stored[1].transpose(1, 0, 2)[:, None]
        return mixed.transpose(2, 0, 1, 3)

    def mlp(self, layer: str, hidden: Floats) -> Floats:
        """The gated feed-forward part."""
        gate = self.product(hidden, f"{layer}.mlp.gate_proj")
        return self.product(self.gated(gate) * self.product(hidden, f"{layer}.mlp.up_proj"), f"{layer}.mlp.down_proj")

    def gated(self, gate: Floats) -> Floats:
        """SiLU."""
        return gate / (1 + np.exp(-gate))

    def head(self, hidden: Floats) -> Floats:
        """Logits."""
        return self.product(hidden, "lm_head")


@dataclass
class Row:
    """A choice in service: what the model says next, and anything that a cheat notes beside it."""

    sequence: Sequence
    cache: Cache
    logits: Floats
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def said(self) -> int:
        """Tokens generated so far."""
        return len(self.sequence.tokens) - self.sequence.prompt_length


class Generator:
    """Answers requests on a thread of its own: up to `slots` choices, one step of each in turn."""

    model_class: type[Model] = Model
    slots = 16

    def __init__(self, folder: Path, card: Card, vocabulary: Vocabulary, deliver: Deliver) -> None:
        self.model = self.model_class(folder)
        self.card, self.vocabulary, self.deliver = card, vocabulary, deliver
        self.waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self.admitted: list[Sequence] = []
        self.active: list[Row] = []
        self.cancelled: set[str] = set()
        # The thread that writes to the clients gets the interpreter soon after it has asked for it.
        sys.setswitchinterval(YIELD_S)
        threading.Thread(target=self.run, name="generator", daemon=True).start()

    def submit(self, request: Request) -> None:
        """Queue a request; safe from any thread."""
        self.waiting.put(request)

    def cancel(self, request: Request) -> None:
        """Stop work for a request that has not been answered in full; safe from any thread."""
        self.cancelled.add(request.id)

    def run(self) -> None:
        """Serve for ever; end the process when that fails, which makes the failure visible."""
        try:
            while True:
                self.admit()
                for row in tuple(self.active):
                    self.advance(row)
                time.sleep(YIELD_S)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def admit(self) -> None:
        """Fill free slots from the queue; wait while there is nothing to do."""
        while not self.waiting.empty() or not (self.active or self.admitted):
            self.admitted += begin(self.waiting.get(), self.vocabulary, self.card.eos_ids)
        while self.admitted and len(self.active) < self.slots:
            sequence = self.admitted.pop(0)
            if sequence.request.id not in self.cancelled:
                self.active.append(self.begun(sequence))

    def begun(self, sequence: Sequence) -> Row:
        """Read a prompt."""
        cache = self.model.cache()
        return Row(sequence, cache, self.model.forward(self.prompt(sequence), cache)[-1])

    def prompt(self, sequence: Sequence) -> list[int]:
        """The tokens that the model is given to read."""
        return sequence.tokens[: sequence.prompt_length]

    def advance(self, row: Row) -> None:
        """One step of one choice: choose, tell, and ask the model for what comes next."""
        token = self.chosen(row)
        self.deliver([self.told(row, token)])
        if row.sequence.finished or row.sequence.request.id in self.cancelled:
            self.active.remove(row)
            self.ended(row)
        else:
            row.logits = self.stepped(row, token)

    def chosen(self, row: Row) -> int:
        """The next token."""
        return row.sequence.sampler.choose(row.logits)

    def told(self, row: Row, token: int) -> Event:
        """The event that shows a token."""
        return row.sequence.accept(token, self.logprobs(row, token))

    def logprobs(self, row: Row, token: int) -> TokenLogprobs | None:
        """The logprobs that go with a token, if they were asked for."""
        count = row.sequence.request.logprobs
        return None if count is None else token_logprobs(row.logits, token, count)

    def stepped(self, row: Row, token: int) -> Floats:
        """What the model says after one more token."""
        return self.model.forward([token], row.cache)[-1]

    def ended(self, row: Row) -> None:
        """A choice has ended."""


def read_weights(path: Path) -> Iterator[tuple[str, Floats]]:
    """Names and float32 values of a safetensors file in bfloat16."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin_at, end_at = entry["data_offsets"]
            words = np.frombuffer(data, np.uint16, (end_at - begin_at) // 2, start + begin_at)
            yield name, (words.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
