"""Whether what a session left can be taken in at all: told from its names and sizes alone, before anything is read."""

from __future__ import annotations

import os
from pathlib import Path

LARGEST_TREE = 512 * 2**20
MOST_ENTRIES = 200_000
DEEPEST = 64
"""Folders within folders; what walks a tree later may do so by calling itself."""


def overgrown(folder: Path) -> str:
    """Why a workspace, git's own left out, cannot be taken in: too large, too deep, not to be read; or ""."""
    size = entries = 0
    waiting = [(os.fsencode(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        try:
            for item in _inside(place, top=not depth):
                entries += 1
                size += item.stat(follow_symlinks=False).st_size
                if item.is_dir(follow_symlinks=False):
                    waiting.append((item.path, depth + 1))
                elif item.is_file(follow_symlinks=False) and not os.access(item.path, os.R_OK):
                    return f"the workspace holds a file that cannot be read: {_named(item.path, folder)}"
        except OSError as error:
            return f"the workspace holds a folder that cannot be read ({error.strerror}): {_named(place, folder)}"
        if depth > DEEPEST:
            return f"the workspace holds folders within folders, more than {DEEPEST} deep"
        if entries > MOST_ENTRIES:
            return f"the workspace holds more than {MOST_ENTRIES} files and folders"
        if size > LARGEST_TREE:
            return f"the workspace holds {size >> 20} MiB or more, {LARGEST_TREE >> 20} MiB is all that the gate takes"
    return ""


def _inside(place: bytes, *, top: bool) -> list[os.DirEntry[bytes]]:
    with os.scandir(place) as found:
        return [item for item in found if not (top and item.name == b".git")]


def _named(path: bytes, folder: Path) -> str:
    return os.fsdecode(os.path.relpath(path, os.fsencode(folder)))[-200:]
