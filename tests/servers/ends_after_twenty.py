"""Ends after twenty requests."""

from pathlib import Path

from starter_edits import edited

CHECK = "service.alive"


def make(starter: Path, into: Path) -> None:
    edited(
        starter,
        into,
        ("server.py", "import argparse\n", "import argparse\nimport itertools\nimport os\n"),
        ("server.py", "LARGEST_BODY = ", "SERVED = itertools.count(1)\nLARGEST_BODY = "),
        ("server.py", "        answer = Answer(request, self._card.name, self._vocabulary)\n",
         "        if next(SERVED) > 20:\n            os._exit(0)\n"
         "        answer = Answer(request, self._card.name, self._vocabulary)\n"),
    )  # fmt: skip
