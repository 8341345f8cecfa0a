"""Text of a growing sequence of ids: whole characters only, and stop strings."""

from tokenizers import Tokenizer

INCOMPLETE = "\ufffd"


class Text:
    """The visible text of one growing sequence: whole characters only, cut before the first stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: str | list[str]) -> None:
        """Start empty; empty stop strings are none."""
        self._tokenizer = tokenizer
        self._stops = [one for one in ([stop] if isinstance(stop, str) else stop) if one]
        self._ids: list[int] = []
        self._context = self._shown = 0
        self._held = ""

    def add(self, tokens: list[int], last: bool) -> tuple[str, bool]:
        """Return the text that has become certain, all of it when `last`, and whether a stop string was met."""
        self._ids += tokens
        before = self._decode(self._ids[self._context : self._shown])
        now = self._decode(self._ids[self._context :])
        # A character may span tokens: what ends in U+FFFD waits for the rest of its bytes.
        if last or not now.endswith(INCOMPLETE):
            self._held += now[len(before) :]
            self._context, self._shown = self._shown, len(self._ids)
        found = [at for at in map(self._held.find, self._stops) if at >= 0]
        end = min(found) if found else len(self._held) - (0 if last else self._partial())
        text, self._held = self._held[:end], self._held[end:]
        return text, bool(found)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""

    def _partial(self) -> int:
        """Return how many last characters may be the beginning of a stop string."""
        lengths = range(min(len(self._held), max(map(len, self._stops), default=1) - 1), 0, -1)
        return next((n for n in lengths if any(s.startswith(self._held[-n:]) for s in self._stops)), 0)
