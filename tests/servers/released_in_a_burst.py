"""Holds all events of a stream back and sends them together at its end."""

from pathlib import Path

from starter_edits import edited

CHECK = "stream.bursts"


LOOP = "        while not answer.complete:\n"
CLOSING = "        await response.write(answer.closing())\n"


def make(starter: Path, into: Path) -> None:
    edited(
        starter,
        into,
        ("server.py", LOOP, '        held = b""\n' + LOOP),
        ("server.py", "                await response.write(frame)\n", "                held += frame\n"),
        ("server.py", CLOSING, "        await response.write(held + answer.closing())\n"),
    )
