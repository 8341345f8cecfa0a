"""Requests that nobody has seen before: drawn from a secret seed, by the target's mix of lengths."""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_vibeserve.target import Mix, Target

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Request:
    """One completion request; `prompt_ids` is what the model must be given, however the prompt is spelt."""

    id: int
    prompt_ids: tuple[int, ...]
    max_tokens: int
    prompt_text: str = ""
    stream: bool = True
    logprobs: int | None = None
    ignore_eos: bool = True
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    include_usage: bool = False
    token_ids: bool = True
    kind: str = "load"


@dataclass(frozen=True, slots=True)
class Secret:
    """The seed of every prompt of one gate: committed to before the run, revealed after it."""

    value: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def commitment(self) -> str:
        """The sha256 (hex) of the seed."""
        return hashlib.sha256(self.value.encode()).hexdigest()

    def stream(self, purpose: str) -> random.Random:
        """A generator for one purpose; no purpose tells anything of another."""
        return random.Random(hashlib.sha256(f"{self.value}/{purpose}".encode()).digest())


class Vocabulary:
    """The tokens that prompts are made of, and the tokenizer as the model's folder gives it."""

    def __init__(self, model: Path) -> None:
        """Read `tokenizer.json` of a model folder."""
        from tokenizers import Tokenizer

        self.tokenizer: Tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        special = {i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        known = sorted(self.tokenizer.get_vocab().values())
        self.size = known[-1] + 1
        self.special = frozenset(special)
        self.ordinary = tuple(i for i in known if i not in special)
        self.prefix = tuple(self.tokenizer.encode("").ids)
        # A token that is part of a character only would make nearly every text undecodable.
        self.spelt = tuple(i for i in self.ordinary if "\ufffd" not in self.decode([i])) or self.ordinary

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a string prompt, special tokens added as the tokenizer does by default."""
        return tuple(self.tokenizer.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


class Workload:
    """An endless supply of fresh requests for one purpose, by the target's mix."""

    def __init__(self, target: Target, vocabulary: Vocabulary, draws: random.Random) -> None:
        """Bind the mix and vocabulary to one stream of random numbers."""
        self._mix: tuple[Mix, ...] = target.mix
        self._weights = [mix.weight for mix in target.mix]
        self._vocabulary = vocabulary
        self._draws = draws

    def requests(self, first_id: int = 0) -> Iterator[Request]:
        """Requests without end; half spell the prompt as text, half as token ids, logprobs on a quarter at random."""
        identity = first_id
        while True:
            mix = self._draws.choices(self._mix, self._weights)[0]
            text, ids = self.prompt(self._draws.randint(*mix.prompt_tokens))
            yield Request(
                id=identity,
                prompt_ids=ids,
                prompt_text=text,
                max_tokens=self._draws.randint(*mix.output_tokens),
                logprobs=5 if self._draws.random() < 0.25 else None,
                include_usage=self._draws.random() < 0.5,
            )
            identity += 1

    def prompt(self, length: int) -> tuple[str, tuple[int, ...]]:
        """A random prompt of `length` tokens or slightly fewer: as text (or "" for an id list) and as ids."""
        body = max(1, length - len(self._vocabulary.prefix))
        if self._draws.random() < 0.5 and (found := self._spelt(body, length)):
            return found
        return "", (*self._vocabulary.prefix, *self._draws.choices(self._vocabulary.ordinary, k=body))

    def _spelt(self, body: int, length: int) -> tuple[str, tuple[int, ...]] | None:
        drawn = self._draws.choices(self._vocabulary.spelt, k=body)
        while drawn and (text := self._vocabulary.decode(drawn)):
            encoded = self._vocabulary.encode(text)
            if len(encoded) <= length:
                return text, encoded
            # The tokenizer spells random text with more tokens than it was drawn with.
            del drawn[length - len(encoded) :]
        return None
