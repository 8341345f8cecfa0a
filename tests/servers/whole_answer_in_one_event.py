"""Streams an answer as one event at its end."""

from pathlib import Path

from starter_edits import edited

CHECK = "stream.group-size"


BEFORE = """
            frame = answer.frame(await self._events[request.id].get())
            if frame:
                await response.write(frame)
"""
AFTER = """
            events = [await self._events[request.id].get()]
            while events[-1].finish_reason is None:
                events.append(await self._events[request.id].get())
            await response.write(answer.frame(merge(events)))
"""


def make(starter: Path, into: Path) -> None:
    edited(
        starter,
        into,
        ("server.py", BEFORE, AFTER),
        ("server.py", "from sequence import Event\n", "from sequence import Event, merge\n"),
        ("server.py", "while not answer.complete:", "for _ in range(len(request.prompts) * request.n):"),
    )
