"""Refuses what comes while four requests are in flight."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.answered"


def make(starter: Path, into: Path) -> None:
    before = "        answer = Answer(request, self._card.name, self._vocabulary)\n"
    after = '        if len(self._events) >= 4:\n            raise RequestError("busy", status=503, code="busy")\n'
    edited(starter, into, ("server.py", before, after + before))
