"""Requests that nobody has seen before: drawn from a secret seed, by the target's mix of lengths."""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_vibeserve.coherence import WITH_PROMPTS
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import imported, own
from pytest_vibeserve.target import Mix, Target

if TYPE_CHECKING:
    from tokenizers import Tokenizer


SHAPES = "workload.py"
"""The file of a target that shapes requests further, where its mix of lengths does not say what they are about."""

REMEMBERED = 32
"""Earlier prompts that later ones may resemble."""


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
    prediction: str | tuple[int, ...] | None = None
    kind: str = "load"

    @property
    def is_constrained(self) -> bool:
        """Whether something else than the model may settle parts of the answer: those need no step of it."""
        return False


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
        """Read `tokenizer.json` of a model folder; a model of no words, as of images, gets a vocabulary of one."""
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel

        self.model, path = model, model / "tokenizer.json"
        wordless = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else wordless
        special = {i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        known = sorted(self.tokenizer.get_vocab().values())
        self.size = known[-1] + 1
        self.special = frozenset(special)
        self.ordinary = tuple(i for i in known if i not in special)
        self.prefix = tuple(self.tokenizer.encode("").ids)
        # Prompts are made of these: a part of a character makes a text undecodable, and nobody's prompt ends in one.
        self.spelt = tuple(i for i in self.ordinary if "\ufffd" not in self.decode([i])) or self.ordinary

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a string prompt, special tokens added as the tokenizer does by default."""
        return tuple(self.tokenizer.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def samplings(draws: random.Random) -> Iterator[tuple[float, float, int]]:
    """Temperature, top_p and top_k of sampled requests without end: five ways in turn, whose values nobody foresees.

    As the model says, colder, by nucleus, by rank, and by both; in a random order each time.
    """
    while True:
        ways = [
            (1.0, 1.0, 0),
            (draws.uniform(0.25, 0.6), 1.0, 0),
            (draws.uniform(0.6, 0.9), draws.uniform(0.8, 0.95), 0),
            (draws.uniform(0.9, 1.1), 1.0, draws.randint(8, 40)),
            (draws.uniform(0.7, 1.0), draws.uniform(0.9, 0.97), draws.randint(20, 80)),
        ]
        for temperature, top_p, top_k in draws.sample(ways, len(ways)):
            yield round(temperature, 3), round(top_p, 3), top_k


class Workload:
    """An endless supply of fresh requests for one purpose, by the target's mix."""

    def __init__(self, target: Target, vocabulary: Vocabulary, draws: random.Random) -> None:
        """Bind the mix and vocabulary to one stream of random numbers."""
        self.target, self.vocabulary, self.draws = target, vocabulary, draws
        self._mix: tuple[Mix, ...] = target.mix
        self._weights = [mix.weight for mix in target.mix]
        self._vocabulary = vocabulary
        self._draws = draws
        self._context = target.limits.context

    def take(self, count: int) -> list[Request]:
        """So many fresh requests, numbered from 0, as the target's own `workload.py` shapes them where it has one."""
        return self.shaped(list(islice(self.requests(), count)))

    def shaped(self, drawn: list[Request]) -> list[Request]:
        """The requests as the target's own `workload.py` shapes them, as they are where it has none.

        UsageError where it raises, or gives what nobody can be asked.
        """
        shape, path = shaping(self.target), self.target.folder / SHAPES
        if shape is None:
            return drawn
        given = own(path, lambda: shape(drawn, self))
        wrong = _wrong(given, drawn)
        for request in () if wrong else given:
            wrong = wrong or _unaskable(request, self)
        if wrong:
            raise UsageError(f"{path}: shaped {wrong}")
        return given

    def requests(self, first_id: int = 0) -> Iterator[Request]:
        """Requests without end, whatever they are for: no purpose can be told from another by what is asked.

        Half spell the prompt as text, half as token ids.  At random places one of every 4 is not streamed, one of 8 is
        sampled, one of 3 of the others asks for logprobs, one of 8 resembles an earlier prompt (`_related`); one of 4
        may end early.
        """
        scored, whole, sampled, related = (self._one_of(every) for every in (3, 4, 8, 8))
        ways = samplings(self._draws)
        earlier: list[tuple[int, ...]] = []
        for identity in count(first_id):
            mix = self._draws.choices(self._mix, self._weights)[0]
            length = self._draws.randint(*mix.prompt_tokens)
            kind, text, ids = "fresh", *self.prompt(length)
            if next(related) and earlier:
                kind, text, ids = self._related(self._draws.choice(earlier), length)
            earlier = [*earlier[-REMEMBERED:], ids]
            request = Request(
                id=identity,
                prompt_ids=ids,
                prompt_text=text,
                max_tokens=min(self._draws.randint(*mix.output_tokens), self._context - len(ids)),
                stream=not next(whole),
                logprobs=5 if next(scored) else None,
                ignore_eos=self._draws.random() < 0.75,
                include_usage=self._draws.random() < 0.5,
                kind=kind,
            )
            if next(sampled):
                temperature, top_p, top_k = next(ways)
                request = replace(request, temperature=temperature, top_p=top_p, top_k=top_k, logprobs=None)
            yield request

    def _one_of(self, every: int) -> Iterator[bool]:
        """True at one random place of every so many: short blocks of load stay comparable."""
        while True:
            chosen = self._draws.randrange(every)
            yield from (place == chosen for place in range(every))

    def _related(self, earlier: tuple[int, ...], length: int) -> tuple[str, str, tuple[int, ...]]:
        """A twin of an earlier prompt that differs in one token, or one that shares its beginning up to a random cut.

        Kind, text (none: given as ids) and ids; stores of answers and of prefixes meet their hardest keys.
        """
        kept = len(self._vocabulary.prefix)
        if len(earlier) > kept and self._draws.random() < 0.5:
            place = self._draws.randrange(kept, len(earlier))
            token = self._draws.choice(self._vocabulary.spelt)
            return "twin", "", (*earlier[:place], token, *earlier[place + 1 :])
        cut = self._draws.randint(kept, min(len(earlier), length - 1)) if length > kept + 1 else kept
        tail = self._draws.choices(self._vocabulary.spelt, k=max(1, length - cut))
        return "shared prefix", "", (*earlier[:cut], *tail)

    def prompt(self, length: int) -> tuple[str, tuple[int, ...]]:
        """A random prompt of `length` tokens or slightly fewer: as text (or "" for an id list) and as ids."""
        body = max(1, length - len(self._vocabulary.prefix))
        if self._draws.random() < 0.5 and (found := self._spelt(body, length)):
            return found
        return "", (*self._vocabulary.prefix, *self._draws.choices(self._vocabulary.spelt, k=body))

    def _spelt(self, body: int, length: int) -> tuple[str, tuple[int, ...]] | None:
        drawn = self._draws.choices(self._vocabulary.spelt, k=body)
        while drawn and (text := self._vocabulary.decode(drawn)):
            encoded = self._vocabulary.encode(text)
            if len(encoded) <= length:
                return text, encoded
            # The tokenizer spells random text with more tokens than it was drawn with.
            del drawn[length - len(encoded) :]
        return None


def _wrong(given: object, drawn: Sequence[Request]) -> str:
    """What is wrong with what a `shaped` gave as a whole, and what it should be; empty when nothing is."""
    if not isinstance(given, Sequence) or not all(isinstance(request, Request) for request in given):
        return f"gave {given!r:.60}: return a list of requests"
    if [request.id for request in given] != [request.id for request in drawn]:
        return f"gave {len(given)} requests for {len(drawn)}: return as many, in their order, with the ids they had"
    return ""


def _unaskable(request: Request, workload: Workload) -> str:
    """Why a request of a text model cannot be judged; empty when it can."""
    if workload.target.modality not in WITH_PROMPTS:
        return ""
    vocabulary, ids, context = workload.vocabulary, request.prompt_ids, workload.target.limits.context
    if not ids or not 0 <= min(ids) <= max(ids) < vocabulary.size:
        return f"gave a prompt of {len(ids)} ids: give at least one, each from 0 to {vocabulary.size - 1}"
    if not 1 <= request.max_tokens <= context - len(ids):
        return f"asks for {request.max_tokens} tokens after {len(ids)}: one at least, within limits.context = {context}"
    if type(request) is Request and request.prompt_text and vocabulary.encode(request.prompt_text) != tuple(ids):
        return f"gave prompt_ids that are not those of prompt_text {request.prompt_text!r:.60}: give both, or ids alone"
    return ""


def shaping(target: Target) -> Callable[[list[Request], Workload], list[Request]] | None:
    """The function `shaped` of the target's own `workload.py`, None where it has no such file.

    It gets requests that were drawn together and returns as many, numbered alike: their prompts may be exchanged for
    what the target is about, their predictions filled in.  Audit and load take the same ones.
    """
    path = target.folder / SHAPES
    return _shaping(path) if path.is_file() else None


@cache
def _shaping(path: Path) -> Callable[[list[Request], Workload], list[Request]]:
    shape: Callable[[list[Request], Workload], list[Request]] | None = getattr(imported(path), "shaped", None)
    if shape is None:
        raise UsageError(f"{path} has no function shaped(requests, workload) that returns the requests to send")
    return shape
