"""Says the end token after three quarters of an answer that may end."""

import generation
import server
from generation import Row

GROUP = "C1"
CHECK = "audit.request"


class Brief(generation.Generator):
    def chosen(self, row: Row) -> int:
        request = row.sequence.request
        late = row.said >= max(1, request.max_tokens * 3 // 4)
        return min(self.card.eos_ids) if late and not request.ignore_eos else super().chosen(row)


server.Generator = Brief
server.main()
