"""What is held of earlier texts, and from where a new prompt can go on.

Keys and values can be cut at any position: whole pages are shared, and a page that is cut is copied.  A state of fixed
size belongs to the one position at which it was copied; so copies are kept at every block's end, where texts were seen
to part, and at the end of every text.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from delta import State
from model import Model
from pages import PAGE

BLOCK = 64
REMEMBERED = 24
"""Texts that are remembered after their end, if pages last."""


@dataclass(slots=True, eq=False)
class Text:
    """The tokens of one text, their pages, and copies of its states by the number of tokens that they are of."""

    tokens: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    states: dict[int, list[State]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """A new prompt's text, how many of its first tokens it holds, and after how many another text parts from it."""

    text: Text
    length: int
    parting: int


class Prefixes:
    """Remembers the texts of all slots, and some that have ended, the longest unused first."""

    def __init__(self, model: Model) -> None:
        """Begin with every page free."""
        self._model = model
        self._free = list(range(model.pages))
        self._readers: Counter[int] = Counter()
        self._texts: list[Text] = []
        self._ended: list[Text] = []

    def keep(self, slot: int, text: Text, length: int) -> None:
        """Copy the states of a slot, which are those of the first `length` tokens of its text."""
        text.states[length] = self._model.states(slot)

    def end(self, text: Text) -> None:
        """Let go of the pages behind a text's tokens, and remember it until others need the rest."""
        used = -(-len(text.tokens) // PAGE)
        self._give_back(text.pages[used:])
        del text.pages[used:]
        self._texts.remove(text)
        self._ended.append(text)
        while len(self._ended) > REMEMBERED:
            self._give_back(self._ended.pop(0).pages)

    def claim(self, slot: int, tokens: list[int], room: int) -> Claim | None:
        """Begin a text with room for so many tokens in a slot; None while texts that are going on hold the pages."""
        # The last token is always computed: its logits are what is asked for.
        wanted = tokens[:-1]
        common = [(shared(text.tokens, wanted), text) for text in (*self._texts, *self._ended)]
        usable = [(max((at for at in text.states if at <= limit), default=0), text) for limit, text in common]
        length, source = max(usable, key=lambda one: one[0], default=(0, Text()))
        source = source if length else Text()
        pages = self._pages(source, length, room)
        if pages is None:
            length, source = 0, Text()
            pages = self._pages(source, length, room)
        if pages is None:
            return None
        if length % PAGE:
            self._model.copy_page(source.pages[length // PAGE], pages[length // PAGE])
        self._model.begin_from(slot, pages, source.states.get(length, ()))
        text = Text(tokens[:length], pages, {at: kept for at, kept in source.states.items() if at <= length})
        self._texts.append(text)
        if source in self._ended:
            self._ended.append(self._ended.pop(self._ended.index(source)))
        return Claim(text, length, max((limit for limit, _ in common), default=0))

    def _pages(self, source: Text, length: int, room: int) -> list[int] | None:
        """The whole pages of the source's first `length` tokens, and new ones; ended texts but it make place."""
        first = source.pages[: length // PAGE]
        need = -(-room // PAGE) - len(first)
        for text in [text for text in self._ended if text is not source]:
            if len(self._free) >= need:
                break
            self._ended.remove(text)
            self._give_back(text.pages)
        if len(self._free) < need:
            return None
        new = _adjacent(self._free, need)
        self._free = sorted(set(self._free).difference(new))
        self._readers.update([*first, *new])
        return [*first, *new]

    def _give_back(self, pages: Sequence[int]) -> None:
        self._readers.subtract(pages)
        self._free = sorted({*self._free, *(page for page in pages if not self._readers[page])})


def shared(held: Sequence[int], wanted: Sequence[int]) -> int:
    """Return the length of the common beginning."""
    length = min(len(held), len(wanted))
    if held[:length] == wanted[:length]:
        return length
    return next(place for place in range(length) if held[place] != wanted[place])


def next_stop(cached: int, parting: int, end: int) -> int:
    """Return up to where a prompt is computed in one piece: a block's end, the place of parting, or its own end."""
    stops = [(cached // BLOCK + 1) * BLOCK, end]
    if parting > cached:
        stops.append(parting)
    return min(stops)


def _adjacent(free: Sequence[int], count: int) -> list[int]:
    """So many of the sorted free pages: the first that lie one behind the other, since those are read as they lie."""
    for place in range(len(free) - count + 1):
        if count and free[place + count - 1] - free[place] == count - 1:
            return list(free[place : place + count])
    return list(free[:count])
