"""A store of prefixes: the cache of an earlier choice serves the beginning that a new prompt shares with it."""

from generation import Cache, Generator, Row
from sequence import Sequence

KEPT = 48


class PrefixStore(Generator):
    """Copies what is shared and computes the rest."""

    def __init__(self, *arguments: object) -> None:
        self.store: list[tuple[list[int], Cache]] = []
        super().__init__(*arguments)

    def begun(self, sequence: Sequence) -> Row:
        prompt, cache = self.prompt(sequence), self.model.cache()
        length, source = self.found(prompt)
        if source is not None:
            cache.parts[:, :, :length] = source.parts[:, :, :length]
            cache.length = length
            self.reused(cache)
        return Row(sequence, cache, self.model.forward(prompt[length:], cache)[-1])

    def found(self, prompt: list[int]) -> tuple[int, Cache | None]:
        """The longest usable beginning, always shorter than the prompt, and the cache that holds it."""
        lengths = [(min(self.shared(prompt, tokens), len(prompt) - 1), cache) for tokens, cache in self.store]
        best = max(lengths, key=lambda pair: pair[0], default=(0, None))
        return best if best[0] > 0 else (0, None)

    def shared(self, prompt: list[int], tokens: list[int]) -> int:
        """How many first tokens of a prompt an earlier choice has computed."""
        pairs = zip(prompt, tokens, strict=False)
        return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(prompt), len(tokens)))

    def reused(self, cache: Cache) -> None:
        """A cache has been filled from the store."""

    def ended(self, row: Row) -> None:
        self.store = [*self.store[-KEPT + 1 :], (row.sequence.tokens[: row.cache.length], row.cache)]
