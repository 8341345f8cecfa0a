"""Reports as `token_ids` what its text tokenises to, not what was generated."""

from dataclasses import replace

import generation
import server
from generation import Row
from sequence import Event

GROUP = "C9"
CHECK = ("audit.max-tokens", "audit.request", "audit.text", "audit.answered")


class Retold(generation.Generator):
    def told(self, row: Row, token: int) -> Event:
        event = super().told(row, token)
        ids = self.vocabulary.encode(event.text)[1:] if event.text else [token]
        return replace(
            event, token_ids=tuple(ids), logprobs=event.logprobs * len(ids), offsets=event.offsets * len(ids)
        )


server.Generator = Retold
server.main()
