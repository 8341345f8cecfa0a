"""Drafts of next tokens, looked up in a sequence's own prompt and answer."""

GRAM = 2


class Drafter:
    """Remembers what followed each pair of tokens in one growing sequence."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._after: dict[tuple[int, ...], int] = {}
        self._read = GRAM

    def propose(self, tokens: list[int], count: int) -> list[int]:
        """Return up to `count` tokens that followed the last pair when it was met before, or none."""
        for place in range(self._read, len(tokens)):
            self._after[tuple(tokens[place - GRAM : place])] = place
        self._read = max(len(tokens), GRAM)
        place = self._after.get(tuple(tokens[-GRAM:]), len(tokens))
        return tokens[place : place + count]
