"""Text of tokens: encoding, incremental decoding of byte-level BPE, and stop strings."""

from pathlib import Path

from tokenizers import Tokenizer

INCOMPLETE = "\ufffd"


class Vocabulary:
    """The tokenizer of a model's folder."""

    def __init__(self, folder: Path) -> None:
        """Read tokenizer.json."""
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a prompt, with the special tokens that the tokenizer adds."""
        # A lone surrogate is legal in JSON and has no UTF-8; it reads as any other undecodable byte does.
        ids: list[int] = self._tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8")).ids
        return ids

    def spell(self, token: int) -> str:
        """Return one token's own text; a token that is part of a character only gives U+FFFD."""
        return str(self._tokenizer.decode([token], skip_special_tokens=False))

    def detokenizer(self) -> "Detokenizer":
        """Return a decoder for one new sequence."""
        return Detokenizer(self._tokenizer)


class Detokenizer:
    """Decodes one growing sequence of ids; the pieces together are the text of all ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Start with no ids."""
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._given = 0

    def add(self, token: int) -> str:
        """Return the text that has become certain; an incomplete last character is held back."""
        self._ids.append(token)
        text = self._text()
        return self._give(text[:-1] if text.endswith(INCOMPLETE) else text)

    def finish(self) -> str:
        """Return what was held back."""
        return self._give(self._text())

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True))

    def _give(self, text: str) -> str:
        new = text[self._given :]
        self._given += len(new)
        return new


class StopStrings:
    """Cuts a growing text at the first stop string, holding back what may be the beginning of one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        """Watch for any of `stops`, none of them empty."""
        self._stops = stops
        self._held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """Return the text that may be shown, and whether a stop string was met."""
        if not self._stops:
            return text, False
        self._held += text
        starts = [at for at in map(self._held.find, self._stops) if at >= 0]
        if starts:
            return self._held[: min(starts)], True
        shown = len(self._held) - self._partial()
        given, self._held = self._held[:shown], self._held[shown:]
        return given, False

    def finish(self) -> str:
        """Return what was held back, when the text ends before a stop string is complete."""
        held, self._held = self._held, ""
        return held

    def _partial(self) -> int:
        """Return how many last characters are the beginning of a stop string."""
        longest = min(len(self._held), max(map(len, self._stops)) - 1)
        for length in range(longest, 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
