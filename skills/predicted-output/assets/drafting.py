"""Drafts of next tokens: what the client expects to follow, found again after every place where it was wrong."""

from collections.abc import Sequence

LONGEST_GRAM = 3


class Drafter:
    """Follows one growing answer through the answer that was predicted for it."""

    def __init__(self, prediction: Sequence[int]) -> None:
        """Begin before the first token of both."""
        self._prediction = list(prediction)
        self._places: dict[tuple[int, ...], list[int]] = {}
        for size in range(1, LONGEST_GRAM + 1):
            for end in range(size, len(prediction) + 1):
                self._places.setdefault(tuple(prediction[end - size : end]), []).append(end)
        self._read = 0
        self._next = 0

    def propose(self, answer: Sequence[int], count: int) -> list[int]:
        """Return up to `count` tokens that are expected to follow the answer so far, or none."""
        for length in range(self._read + 1, len(answer) + 1):
            self._follow(answer[max(0, length - LONGEST_GRAM) : length])
        self._read = len(answer)
        return self._prediction[self._next : self._next + count]

    def _follow(self, last: Sequence[int]) -> None:
        """Step over the last token; where it was not expected, go on where the longest run up to it is nearest."""
        expected = self._prediction[self._next : self._next + 1]
        if expected == [last[-1]]:
            self._next += 1
            return
        # Nothing that was predicted looks like the answer: one token was exchanged for another.
        found = [self._next + 1]
        for size in range(len(last), 1, -1):
            places = self._places.get(tuple(last[len(last) - size :]))
            if places:
                found = places
                break
        else:
            # One known token alone is an accident unless it lies close by, where one was left out or put in.
            near = self._places.get((last[-1],), [])
            found += [place for place in near if self._next < place <= self._next + 2]
        self._next = min(found, key=lambda place: (abs(place - self._next - 1), -place))
