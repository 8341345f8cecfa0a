"""A recorded trace in pieces: what each block of load replays of it, and prompts that share what its prompts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.traces import BLOCK_TOKENS, Arrival


@dataclass(frozen=True, slots=True)
class Window:
    """What a stretch of a trace holds: its requests, timed from the first of them, and their place in the whole.

    `first` counts the requests of the trace before it, `total` all of them.
    """

    arrivals: tuple[Arrival, ...]
    first: int
    total: int


def windows(arrivals: Sequence[Arrival], speedup: float = 1.0, seconds: float = inf) -> tuple[Window, ...]:
    """The trace, `speedup` times as fast, in windows of at most so many seconds that follow one another.

    Each begins with the first request that no earlier one has; together they hold every request once.
    """
    if not 0 < speedup < inf:
        raise UsageError(f"the speed-up of a trace must be above 0 and finite, not {speedup}")
    found: list[Window] = []
    held: list[Arrival] = []
    start_s = 0.0
    for number, arrival in enumerate(arrivals):
        if held and (arrival.at_s - start_s) / speedup > seconds:
            found.append(Window(tuple(held), number - len(held), len(arrivals)))
            held = []
        start_s = start_s if held else arrival.at_s
        held.append(replace(arrival, at_s=(arrival.at_s - start_s) / speedup))
    return (*found, Window(tuple(held), len(arrivals) - len(held), len(arrivals))) if held else tuple(found)


def prompts(
    arrivals: Sequence[Arrival], draw: Callable[[int], Sequence[int]], prefix: Sequence[int] = ()
) -> Iterator[tuple[int, ...]]:
    """Fresh prompts, as token ids, of the trace's lengths that share what the trace's prompts share.

    `draw(n)` gives n random tokens; a block's name is given new tokens at each call of this function, so that no
    prompt of an earlier block of load comes again.  `prefix` begins every prompt, as the tokenizer's would.
    """
    contents: dict[int, Sequence[int]] = {}
    for arrival in arrivals:
        ids = list(prefix)
        for name in arrival.blocks:
            if name not in contents:
                contents[name] = draw(BLOCK_TOKENS)
            ids.extend(contents[name])
        lacking = arrival.input_tokens - len(ids)
        ids.extend(draw(lacking) if lacking > 0 else ())
        yield tuple(ids[: arrival.input_tokens])
