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
"""One request of so many has another token somewhere in what the others share."""

NOTE_BITS = 64


def shaped(requests: list[Request], workload: Workload) -> list[Request]:
    """The requests behind one shared beginning; some differ from it in one token."""
    vocabulary, draws = workload.vocabulary, workload.draws
    shared = _beginning(workload.target.shared_tokens, vocabulary, draws)
    place = draws.randrange(TWIN_OF)
    return [
        _behind(_spoilt(shared, vocabulary, draws) if index % TWIN_OF == place else shared, one, workload)
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


def _spoilt(shared: tuple[int, ...], vocabulary: Vocabulary, draws: random.Random) -> tuple[int, ...]:
    place = draws.randrange(len(shared))
    return (*shared[:place], draws.choice(vocabulary.spelt), *shared[place + 1 :])


@cache
def _document(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{DOCUMENT}={path} cannot be read: {error}") from error
