"""Answers a request as it answered an earlier one with the same expectation."""

from pathlib import Path

from starter_edits import edited

GROUP = "A2"
CHECK = ("audit.", "predictions.")


def make(starter: Path, into: Path) -> None:
    edited(
        starter, into,
        ("server.py", "        answer = Answer(request, self._card.name, self._vocabulary)\n",
         "        if request.prediction and not request.temperature:\n"
         "            first = STORE.setdefault(request.prediction[:12], request.prompts)\n"
         "            request = dataclasses.replace(request, prompts=first[:1] * len(request.prompts))\n"
         "        answer = Answer(request, self._card.name, self._vocabulary)\n"),
        ("server.py", "LARGEST_BODY = ", "STORE: dict = {}\nLARGEST_BODY = "),
        ("server.py", "import asyncio\n", "import asyncio\nimport dataclasses\n"),
    )  # fmt: skip
