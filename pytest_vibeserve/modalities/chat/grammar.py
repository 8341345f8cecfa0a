"""Which tokens a JSON Schema allows at each place, by llguidance.

The contract's model is the locally masked one: at each position the tokens that the grammar does not allow are left
out and the best of the rest is taken.  It is not sampling from the model conditioned on a valid answer.  Text that
the grammar forces may be cut into tokens in any way, so an engine may insert it without asking the model.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.reference import Context, Logits, Reference
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import Variant

Whitespace = Literal["compact", "spaced", "any"]
INSTALL = "pip install 'pytest-vibeserve[json]'"
FORBIDDEN = np.float32(1e4)
"""Logits taken from a token that the grammar does not allow: far beyond any margin, and still a number."""

KEPT_NUMBERS = 32 * 2**20
"""Penalties (4 bytes each) that are kept for the next walk over the same answers."""

STYLES: dict[Whitespace, dict[str, Any]] = {
    "compact": {"item_separator": ",", "key_separator": ":", "whitespace_flexible": False},
    "spaced": {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False},
    "any": {"whitespace_flexible": True},
}


class Grammar:
    """The grammar of schemas over one tokenizer, in one style of whitespace."""

    def __init__(self, model: Path, end_ids: Sequence[int], size: int, whitespace: Whitespace) -> None:
        """Read `tokenizer.json`; `size` is the length of the model's logits, `end_ids` end an answer."""
        try:
            import llguidance
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UsageError(f"constrained answers need {error.name}: {INSTALL}") from error
        text = (model / "tokenizer.json").read_text(encoding="utf-8")
        self._library: Any = llguidance
        self._tokens: Any = llguidance.LLTokenizer(text, n_vocab=size, eos_token=sorted(end_ids))
        self._bytes = [self._tokens.decode_bytes([token]) for token in range(size)]
        self._words = Tokenizer.from_str(text)
        self._ends, self._style = np.asarray(sorted(end_ids), dtype=np.int64), STYLES[whitespace]
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], Logits] = OrderedDict()

    def allowed(self, schema: str, ids: Sequence[int]) -> Iterator[NDArray[np.bool_]]:
        """For each position of an answer the tokens [vocabulary] that stand for no other choice than its own.

        Where text is forced, a token within it has no rivals, and one that goes beyond it only those that do too.
        After a token that breaks the grammar everything is allowed: the answer is condemned already.
        """
        matcher, legal = self._matcher(schema), True
        for token in ids:
            mask = self._rivals(matcher, token) if legal else np.ones(len(self._bytes), dtype=bool)
            legal = legal and bool(mask[token])
            if legal and not matcher.is_stopped():
                matcher.consume_token(token)
            yield mask

    def broken(self, schema: str, ids: tuple[int, ...]) -> int | None:
        """The first position whose token the grammar does not allow, None where there is none."""
        if not ids:
            return None
        taken = self.penalties(schema, ids)[np.arange(len(ids)), list(ids)]
        return int(taken.argmax()) if taken.max() > 0 else None

    def next_allowed(self, schema: str, ids: Sequence[int]) -> NDArray[np.bool_]:
        """The tokens [vocabulary] that may follow a legal beginning of an answer."""
        matcher = self._matcher(schema)
        matcher.consume_tokens(list(ids))
        return self._mask(matcher)

    def complete(self, schema: str, ids: Sequence[int]) -> bool:
        """Whether these ids, without an end token, are a whole answer."""
        matcher = self._matcher(schema)
        return matcher.try_consume_tokens(list(ids)) == len(ids) and bool(matcher.is_accepting())

    def beginning(self, schema: str) -> Place:
        """The place before the first byte of an answer."""
        return Place(self._matcher(schema), self._tokens, self._bytes, self._mask)

    def text(self, ids: Sequence[int]) -> tuple[bytes, bool]:
        """The bytes of an answer without the end token, and whether it had one."""
        ended = bool(ids) and ids[-1] in self._ends
        return b"".join(self._bytes[token] for token in (ids[:-1] if ended else ids)), ended

    def starts(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """At which byte of the text each token of an answer begins."""
        lengths = [0, *(len(self._bytes[token]) for token in ids[:-1])]
        return np.cumsum(lengths, dtype=np.int64)

    def cut(self, text: bytes) -> tuple[int, ...] | None:
        """The tokenizer's own cut of a text, None where it ends within a character."""
        try:
            return tuple(self._words.encode(text.decode("utf-8"), add_special_tokens=False).ids)
        except UnicodeDecodeError:
            return None

    def penalties(self, schema: str, ids: tuple[int, ...]) -> Logits:
        """What is taken from the logits [len(ids), vocabulary] of an answer's positions: 0 where allowed."""
        key = (schema, ids)
        if key not in self._kept:
            masks = np.stack(list(self.allowed(schema, ids)))
            self._kept[key] = np.where(masks, np.float32(0), FORBIDDEN)
            while len(self._kept) > 1 and sum(taken.size for taken in self._kept.values()) > KEPT_NUMBERS:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _matcher(self, schema: str) -> Any:
        styled = {**json.loads(schema), "x-guidance": self._style}
        matcher = self._library.LLMatcher(self._tokens, self._library.LLMatcher.grammar_from_json_schema(styled))
        if matcher.is_error():
            raise UsageError(f"the schema cannot be used as a grammar: {matcher.get_error()}")
        return matcher

    def _mask(self, matcher: Any) -> NDArray[np.bool_]:
        if not matcher.is_stopped():
            return np.frombuffer(matcher.compute_logit_bias(), dtype=np.uint8) > 0
        mask = np.zeros(len(self._bytes), dtype=bool)
        mask[self._ends] = True
        return mask

    def _only(self, token: int) -> NDArray[np.bool_]:
        found = np.zeros(len(self._bytes), dtype=bool)
        found[token] = True
        return found

    def _rivals(self, matcher: Any, token: int) -> NDArray[np.bool_]:
        """What a token is to be compared with; the mask itself where no text is forced."""
        if matcher.is_stopped() and token in self._ends:
            # Whatever ends a document that is whole ends it: a model may have several end tokens.
            return self._only(token)
        forced = b"" if matcher.is_stopped() else bytes(matcher.compute_ff_bytes())
        spelt = self._bytes[token]
        found = np.zeros(len(self._bytes), dtype=bool)
        if forced and forced.startswith(spelt) and spelt:
            found = self._only(token)
        elif forced and spelt.startswith(forced):
            beyond = [
                other for other, text in enumerate(self._bytes) if len(text) > len(forced) and text.startswith(forced)
            ]
            found[[other for other in beyond if matcher.validate_tokens([other]) == 1]] = True
        else:
            found = self._mask(matcher)
        return found


class Place:
    """A place in the text of an answer that is being written, byte by byte or token by token."""

    def __init__(
        self, matcher: Any, tokens: Any, spelt: Sequence[bytes], mask: Callable[[Any], NDArray[np.bool_]]
    ) -> None:
        """Begin before the first byte."""
        self.at = 0
        self._matcher, self._tokens, self._spelt, self._mask = matcher, tokens, spelt, mask

    @property
    def stopped(self) -> bool:
        """Whether nothing but an end token may follow."""
        return bool(self._matcher.is_stopped())

    @property
    def whole(self) -> bool:
        """Whether the answer may end here."""
        return bool(self._matcher.is_accepting())

    def forced(self) -> bytes:
        """The text that must come next."""
        return b"" if self.stopped else bytes(self._matcher.compute_ff_bytes())

    def allowed(self) -> NDArray[np.bool_]:
        """The tokens [vocabulary] that may come next."""
        return self._mask(self._matcher)

    def leads(self, token: int, text: bytes) -> bool:
        """Whether a token is what the whole text goes on with here."""
        return bool(self._spelt[token]) and text.startswith(self._spelt[token], self.at)

    def copy(self) -> Place:
        """The same place, from which one may go on another way."""
        other = Place(self._matcher.deep_copy(), self._tokens, self._spelt, self._mask)
        other.at = self.at
        return other

    def take(self, token: int) -> None:
        """Go on behind a token."""
        self._matcher.consume_token(token)
        self.at += len(self._spelt[token])

    def write(self, text: bytes) -> None:
        """Go on behind a text that the grammar allows."""
        for value in text:
            self._matcher.consume_tokens(self._tokens.tokenize_bytes(bytes([value])))
        self.at += len(text)


class MaskedReference(Reference):
    """The text reference whose logits, in the context of a schema, leave out what the grammar does not allow."""

    def __init__(self, folder: Path, target: Target, grammar: Grammar | None) -> None:
        """Without a grammar it is the plain reference."""
        super().__init__(folder, target)
        self.grammar = grammar

    def walk(
        self, contexts: Sequence[Context], variants: Sequence[Variant]
    ) -> Iterator[tuple[int, tuple[Logits, ...]]]:
        """As the reference's; the condition of a prompt is its schema."""
        for index, blocks in super().walk(contexts, variants):
            context = contexts[index]
            schema = context.prompt.condition if isinstance(context.prompt, Conditioned) else ""
            if self.grammar and isinstance(schema, str) and schema:
                taken = self.grammar.penalties(schema, context.output)
                blocks = tuple(block - taken for block in blocks)
            yield index, blocks
