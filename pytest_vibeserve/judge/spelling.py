"""What the tokens of a model spell, and which of them a text may go on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pytest_vibeserve.workload import Vocabulary


class Spelling:
    """The bytes that each token stands for; special ones, of which a text shows nothing, stand for none."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Read what each token of a vocabulary spells."""
        self._tokenizer, self.special = vocabulary.tokenizer, vocabulary.special
        self.bytes = tuple(_spelt(vocabulary))
        self._known: dict[bytes, list[int]] = {}
        for token, spelt in enumerate(self.bytes):
            if spelt:
                self._known.setdefault(spelt, []).append(token)
        self._longest = max(map(len, self._known), default=0)

    def leading(self, rest: bytes, is_whole: bool) -> list[int]:
        """The tokens that a text may go on with; where more text followed than is known, those that go beyond it too."""
        sizes = range(1, min(self._longest, len(rest)) + 1)
        found = [token for size in sizes for token in self._known.get(rest[:size], ())]
        if not is_whole and rest and len(rest) < self._longest:
            beyond = [spelt for spelt in self._known if len(spelt) > len(rest) and spelt.startswith(rest)]
            found += [token for spelt in beyond for token in self._known[spelt]]
        return found

    def cut(self, rest: bytes) -> list[int]:
        """The tokenizer's own cut of a text, or the longest tokens one by one where it begins within a character."""
        try:
            found = self._tokenizer.encode(rest.decode("utf-8"), add_special_tokens=False).ids
        except UnicodeDecodeError:
            found = []
        if b"".join(self.bytes[token] for token in found) == rest:
            return list(found)
        return list(self._longest_first(rest))

    def _longest_first(self, rest: bytes) -> Iterator[int]:
        at = 0
        while at < len(rest):
            parts = (rest[at : at + size] for size in range(self._longest, 0, -1))
            token = next((self._known[part][0] for part in parts if part in self._known), None)
            if token is None:
                return
            yield token
            at += len(self.bytes[token])


@lru_cache(maxsize=2)
def spelling_of(model: Path) -> Spelling:
    """The spelling of a model's folder."""
    return Spelling(Vocabulary(model))


def _spelt(vocabulary: Vocabulary) -> Iterator[bytes]:
    """What each id spells: by the letters that stand for bytes where the tokenizer has them, else decoded alone."""
    decoder = json.loads(vocabulary.tokenizer.to_str()).get("decoder") or {}
    kinds = {decoder.get("type"), *(part.get("type") for part in decoder.get("decoders", ()))}
    letters = _letters() if "ByteLevel" in kinds else {}
    for token in range(vocabulary.size):
        word = vocabulary.tokenizer.id_to_token(token)
        if word is None or token in vocabulary.special:
            yield b""
        elif letters and all(letter in letters for letter in word):
            yield bytes(letters[letter] for letter in word)
        else:
            yield vocabulary.decode([token]).encode()


def _letters() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for: itself if it can be seen, else from 256 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [value for value in range(256) if value not in seen]
    return {chr(value): value for value in seen} | {chr(256 + place): value for place, value in enumerate(hidden)}
