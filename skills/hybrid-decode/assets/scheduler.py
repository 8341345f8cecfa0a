"""Which tokens each step of the model computes, and what becomes of its logits."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from model import Chunk, Logits, Model
from sampling import token_logprobs
from sequence import Event, Sequence

SLOTS = 1


@dataclass(slots=True, eq=False)
class Active:
    """A sequence in a slot; the keys and values of its first `cached` tokens are there."""

    sequence: Sequence
    slot: int
    cached: int = 0


class Scheduler:
    """Steps the waiting sequences in their order; used from one thread."""

    def __init__(self, model: Model) -> None:
        """Begin with every slot of the model free."""
        self._model = model
        self._waiting: deque[Sequence] = deque()
        self._active: list[Active] = []
        self._free = list(range(model.slots))

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""
        return not self._active and not self._waiting

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Queue the choices of a request."""
        self._waiting.extend(sequences)

    def cancel(self, request_id: str) -> None:
        """Forget the sequences of a request."""
        self._waiting = deque(one for one in self._waiting if one.request.id != request_id)
        for active in [one for one in self._active if one.sequence.request.id == request_id]:
            self._release(active)

    def step(self) -> list[Event]:
        """Compute one step of the model and return what it added; there must be something to compute."""
        self._admit()
        plan = self._plan()
        logits = self._model.step([chunk for _, chunk in plan])
        return self._settle(plan, logits)

    def _admit(self) -> None:
        """Give the next sequence its slot when the last one has ended."""
        if not self._active:
            self._active.append(self._place(self._waiting.popleft()))

    def _place(self, sequence: Sequence) -> Active:
        """Give a sequence a free slot."""
        slot = min(self._free)
        self._free.remove(slot)
        return Active(sequence, slot)

    def _release(self, active: Active) -> None:
        """Take the slot of a sequence that has ended."""
        self._active.remove(active)
        self._free.append(active.slot)

    def _plan(self) -> list[tuple[Active, Chunk]]:
        """Return the chunks of the next step: of each sequence the tokens that are not cached yet."""
        return [(active, self._chunk(active)) for active in self._active]

    def _chunk(self, active: Active) -> Chunk:
        """Return all tokens of a sequence that are not cached yet."""
        return Chunk(active.slot, active.cached, active.sequence.tokens[active.cached :])

    def _settle(self, plan: list[tuple[Active, Chunk]], logits: Logits) -> list[Event]:
        """Extend each sequence whose tokens are all cached now."""
        events: list[Event] = []
        for (active, chunk), row in zip(plan, logits, strict=True):
            active.cached += len(chunk.tokens)
            if active.cached == len(active.sequence.tokens):
                events.append(self._extend(active, row))
                if active.sequence.finished:
                    self._release(active)
        return events

    def _extend(self, active: Active, row: Logits) -> Event:
        """Choose the next token of a sequence from its row of logits."""
        sequence = active.sequence
        token = sequence.sampler.choose(row)
        count = sequence.request.logprobs
        return sequence.accept(token, None if count is None else token_logprobs(row, token, count))
