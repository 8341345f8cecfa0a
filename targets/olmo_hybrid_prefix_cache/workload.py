"""What is asked of olmo_hybrid_prefix_cache: requests that go together begin with one text that nobody has seen.

`VIBESERVE_DATA_DOCUMENT` names a text file whose beginning they share, after a fresh note that changes all that
follows.
"""

import os
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.workload import Request, Vocabulary, Workload

DOCUMENT = "VIBESERVE_DATA_DOCUMENT"
TWIN_OF = 8
"""One request of so many parts from the others within what they share."""

PIECE = 4
"""A piece that is exchanged is this part of what is shared."""

LATE = 16
"""A single token is exchanged among so many at the end: farther from the answer, no arithmetic would tell it."""

NOTE_BITS = 64


def shaped(requests: list[Request], workload: Workload) -> list[Request]:
    """The requests behind one shared beginning; some part from it before it ends."""
    vocabulary, draws = workload.vocabulary, workload.draws
    shared = _beginning(workload.target.shared_tokens, vocabulary, draws)
    place = draws.randrange(TWIN_OF)
    return [
        _behind(_parted(shared, vocabulary, draws) if index % TWIN_OF == place else shared, one, workload)
        for index, one in enumerate(requests)
    ]


def _behind(shared: tuple[int, ...], request: Request, workload: Workload) -> Request:
    own = workload.draws.choices(workload.vocabulary.spelt, k=max(1, len(request.prompt_ids) - len(shared)))
    ids, text = (*shared, *own), ""
    if request.prompt_text:
        text = workload.vocabulary.decode(ids)
        ids = workload.vocabulary.encode(text)
    room = workload.target.limits.context - len(ids)
    return replace(
        request, prompt_ids=ids, prompt_text=text, max_tokens=min(request.max_tokens, room), kind="shared prefix"
    )


def _beginning(length: int, vocabulary: Vocabulary, draws: random.Random) -> tuple[int, ...]:
    path = os.environ.get(DOCUMENT)
    if path is None:
        return tuple(draws.choices(vocabulary.spelt, k=length))
    ids = vocabulary.encode(f"(note {draws.getrandbits(NOTE_BITS):x})\n{_document(Path(path))}")
    if len(ids) < length:
        raise UsageError(f"{DOCUMENT}={path} has {len(ids)} tokens, fewer than the {length} that requests share")
    return ids[:length]


def _parted(shared: tuple[int, ...], vocabulary: Vocabulary, draws: random.Random) -> tuple[int, ...]:
    """What is shared with a token near its end exchanged, with a piece of it, or with all from some place on."""
    length, kind = len(shared), draws.choice(("token", "piece", "all"))
    start = draws.randrange(max(0, length - LATE) if kind == "token" else 0, length)
    end = {"token": start + 1, "piece": min(length, start + length // PIECE), "all": length}[kind]
    return (*shared[:start], *draws.choices(vocabulary.spelt, k=end - start), *shared[end:])


@cache
def _document(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{DOCUMENT}={path} cannot be read: {error}") from error
