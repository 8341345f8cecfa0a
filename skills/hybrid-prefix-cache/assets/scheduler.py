"""Which tokens each step of the model computes, and what becomes of its logits."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from model import Chunk, Logits, Model
from prefixes import Prefixes, Text, next_stop
from sampling import token_logprobs
from sequence import Event, Sequence

ACTIVE = 20
SLOTS = ACTIVE + 4
"""Contexts that there are pages for: those beyond the active ones are room for texts that have ended."""


@dataclass(slots=True, eq=False)
class Active:
    """A sequence in a slot; its first `cached` tokens are computed, and other texts part from it after `parting`."""

    sequence: Sequence
    slot: int
    text: Text
    cached: int
    parting: int

    @property
    def reading(self) -> bool:
        """Whether its prompt is still to be computed."""
        return self.cached < self.sequence.prompt_length


class Scheduler:
    """Steps all sequences that have a slot together, and lets one waiting prompt in at a time; used from one thread."""

    def __init__(self, model: Model) -> None:
        """Begin with every slot of the model free."""
        self._model = model
        self._prefixes = Prefixes(model)
        self._waiting: deque[Sequence] = deque()
        self._active: list[Active] = []
        self._free = list(range(ACTIVE))

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
        plan = [(active, self._chunk(active)) for active in self._active]
        logits = self._model.step([chunk for _, chunk in plan])
        return self._settle(plan, logits)

    def _admit(self) -> None:
        """Give the next sequence a slot while no prompt is being read: what that shares with it is known only then."""
        if not self._free or not self._waiting or any(active.reading for active in self._active):
            return
        sequence = self._waiting[0]
        for active in self._active:
            active.text.tokens = active.sequence.tokens[: active.cached]
        room = sequence.prompt_length + sequence.request.max_tokens
        claim = self._prefixes.claim(self._free[0], sequence.tokens, room)
        if claim:
            self._waiting.popleft()
            self._active.append(Active(sequence, self._free.pop(0), claim.text, claim.length, claim.parting))

    def _release(self, active: Active) -> None:
        """Take the slot of a sequence that has ended, and remember what it holds."""
        self._active.remove(active)
        self._free.append(active.slot)
        active.text.tokens = active.sequence.tokens[: active.cached]
        self._prefixes.keep(active.slot, active.text, active.cached)
        self._prefixes.end(active.text)

    def _chunk(self, active: Active) -> Chunk:
        """Return the tokens of a sequence that come next: one, or its prompt up to the next stop."""
        tokens = active.sequence.tokens
        end = next_stop(active.cached, active.parting, len(tokens)) if active.reading else len(tokens)
        return Chunk(active.slot, active.cached, tokens[active.cached : end])

    def _settle(self, plan: list[tuple[Active, Chunk]], logits: Logits) -> list[Event]:
        """Extend each sequence whose tokens are all computed now, and copy states where a piece of a prompt ends."""
        events: list[Event] = []
        for (active, chunk), row in zip(plan, logits, strict=True):
            was_reading = active.reading
            active.cached += len(chunk.tokens)
            if was_reading:
                self._prefixes.keep(active.slot, active.text, active.cached)
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
