"""Sends a blank as the first token of a stream before the model has said anything."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.text"
BLANK = 'b\'data: {"choices": [{"index": 0, "text": " ", "logprobs": null, "finish_reason": null}]}\\n\\n\''


def make(starter: Path, into: Path) -> None:
    before = "        await response.prepare(http)\n"
    edited(starter, into, ("server.py", before, before + f"        await response.write({BLANK})\n"))
