"""Waits a twentieth of a second for more requests before it begins with any, as batching servers do."""

import time

import generation
import server


class Waiting(generation.Generator):
    def admit(self) -> None:
        if not self.active:
            while self.waiting.empty() and not self.admitted:
                time.sleep(0.001)
            time.sleep(0.05)
        super().admit()


server.Generator = Waiting
server.main()
