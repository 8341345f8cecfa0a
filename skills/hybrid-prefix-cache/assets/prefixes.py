"""What the slots of the model hold of earlier texts, and from where a new prompt can go on.

Keys and values can be cut at any position; a state of fixed size belongs to the one position at which it was copied.
So copies are kept at every block's end, where texts were seen to part, and at the end of every text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from delta import State
from model import Model

BLOCK = 64


@dataclass(slots=True)
class Held:
    """The tokens of one slot, and copies of its states by the number of tokens that they are of."""

    tokens: list[int] = field(default_factory=list)
    states: dict[int, list[State]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """A slot for a new prompt, how many of its first tokens it holds, and after how many another text parts from it."""

    slot: int
    length: int
    parting: int


class Prefixes:
    """Remembers all slots, also those whose texts have ended."""

    def __init__(self, model: Model) -> None:
        """Begin with empty slots."""
        self._model = model
        self._held = [Held() for _ in range(model.slots)]

    def keep(self, slot: int, length: int) -> None:
        """Copy the states of a slot, which are those of its first `length` tokens."""
        self._held[slot].states[length] = self._model.states(slot)

    def remember(self, slot: int, tokens: list[int]) -> None:
        """Note which tokens a slot has computed."""
        self._held[slot].tokens = tokens

    def claim(self, free: Sequence[int], tokens: list[int]) -> Claim:
        """Take one of the free slots (the one that was left longest ago first) for a prompt."""
        # The last token is always computed: its logits are what is asked for.
        wanted = tokens[:-1]
        common = [shared(held.tokens, wanted) for held in self._held]
        usable = [
            max((at for at in held.states if at <= limit), default=0)
            for held, limit in zip(self._held, common, strict=True)
        ]
        source = max(range(len(usable)), key=lambda slot: (usable[slot], slot in free))
        length = usable[source]
        slot = source if source in free and length else self._least(free, common)
        kept = {at: states for at, states in self._held[source].states.items() if at <= length}
        if length:
            self._model.begin_from(source, slot, length, kept[length])
        self._held[slot] = Held(tokens[:length], kept if length else {})
        return Claim(slot, length, max(common))

    def _least(self, free: Sequence[int], common: Sequence[int]) -> int:
        """The free slot that is of least use to this prompt; of those the one that was left longest ago."""
        return min(free, key=lambda slot: (common[slot] > 0, free.index(slot)))


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
