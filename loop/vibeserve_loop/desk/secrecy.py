"""Keys stay in the environment: they are masked in logs and looked for in what an agent leaves behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

SHORTEST_KEY = 8


def masked(log: Callable[[str], None], keys: Sequence[str]) -> Callable[[str], None]:
    """The log with every key in it replaced by stars."""
    known = [key for key in keys if len(key) >= SHORTEST_KEY]

    def write(line: str) -> None:
        for key in known:
            line = line.replace(key, "***")
        log(line)

    return write


def leaked(folder: Path, keys: Sequence[str]) -> tuple[str, ...]:
    """The files below a folder, git's own left out, that hold a key."""
    known = [key.encode() for key in keys if len(key) >= SHORTEST_KEY]
    found = []
    for top, names, files in os.walk(folder):
        names[:] = [name for name in names if name != ".git"]
        for path in (Path(top, name) for name in files):
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                found += [str(path.relative_to(folder))] if any(key in data for key in known) else []
    return tuple(sorted(found))
