"""Generation by a decode loop of our own, on a thread of its own."""

import os
import queue
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from card import Card
from model import Model
from protocol import Request
from scheduler import SLOTS, Scheduler
from sequence import Event, begin
from text import Vocabulary

Deliver = Callable[[list[Event]], None]


class Generator:
    """Answers requests; `deliver` gets all events of each step, on the generator's thread."""

    def __init__(self, folder: Path, card: Card, vocabulary: Vocabulary, deliver: Deliver) -> None:
        """Load the model and begin to wait for requests."""
        self._scheduler = Scheduler(Model(folder, SLOTS, card.context))
        self._card = card
        self._vocabulary = vocabulary
        self._deliver = deliver
        # A request and whether it is wanted; submissions and cancellations keep their order in one queue.
        self._inbox: queue.SimpleQueue[tuple[Request, bool]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="generator", daemon=True).start()

    def submit(self, request: Request) -> None:
        """Queue a request; safe from any thread."""
        self._inbox.put((request, True))

    def cancel(self, request: Request) -> None:
        """Stop work for a request that has not been answered in full; safe from any thread."""
        self._inbox.put((request, False))

    def _run(self) -> None:
        try:
            while True:
                self._take()
                if not self._scheduler.idle:
                    self._deliver(self._scheduler.step())
        finally:
            # Without this thread every request would hang: ending the process makes the failure visible.
            os.kill(os.getpid(), signal.SIGTERM)

    def _take(self) -> None:
        """Hand the inbox to the scheduler; wait for a message when there is nothing to compute."""
        while self._scheduler.idle or not self._inbox.empty():
            request, wanted = self._inbox.get()
            if wanted:
                self._scheduler.add(begin(request, self._vocabulary, self._card.eos_ids))
            else:
                self._scheduler.cancel(request.id)
