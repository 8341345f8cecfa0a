"""Which tokens the slots of the model hold, and how a new prompt profits from them."""

from model import Model

SHORTEST = 8


class PrefixCache:
    """The tokens whose keys and values each slot holds, also after its sequence has ended."""

    def __init__(self, model: Model) -> None:
        """Begin with empty slots."""
        self._model = model
        self._tokens: list[list[int]] = [[] for _ in range(model.slots)]

    def remember(self, slot: int, tokens: list[int]) -> None:
        """Note what a slot holds now."""
        self._tokens[slot] = tokens

    def claim(self, free: list[int], tokens: list[int]) -> tuple[int, int]:
        """Return one of the free slots (oldest first in `free`), and how many first tokens it holds of these."""
        # The last token is always computed: its logits are what is asked for.
        wanted = tokens[:-1]
        source = max(range(len(self._tokens)), key=lambda slot: _common(self._tokens[slot], wanted))
        length = _common(self._tokens[source], wanted)
        if length < SHORTEST:
            slot, length = free[0], 0
        elif source in free:
            slot = source
        else:
            slot = free[0]
            self._model.copy_prefix(source, slot, length)
        self._tokens[slot] = tokens[:length]
        return slot, length


def _common(held: list[int], wanted: list[int]) -> int:
    """Return the length of the common prefix."""
    length = min(len(held), len(wanted))
    if held[:length] == wanted[:length]:
        return length
    return next(place for place in range(length) if held[place] != wanted[place])
