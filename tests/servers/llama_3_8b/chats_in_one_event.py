"""Makes a chat's whole answer before it shows the first word, and tells all of it at once."""

from pathlib import Path

from starter_edits import edited

GROUP = "D2"
CHECK = ("stream.", "audit.", "interface.", "load.")

BEFORE = """        while not answer.complete:
            frame = answer.frame(await self._events[request.id].get())
"""
AFTER = """        held: list[Event] = []
        alone = isinstance(answer, ChatAnswer) and request.n == 1
        while alone and not (held and held[-1].finish_reason):
            held.append(await self._events[request.id].get())
        while not answer.complete:
            frame = answer.frame(merge(held) if held else await self._events[request.id].get())
"""


def make(starter: Path, into: Path) -> None:
    importing = ("server.py", "from sequence import Event\n", "from sequence import Event, merge\n")
    edited(starter, into, importing, ("server.py", BEFORE, AFTER))
