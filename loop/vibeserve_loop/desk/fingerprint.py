"""Whether a session left anything behind: one digest of what a folder holds."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path


def fingerprint(folder: Path) -> str:
    """A digest of names, modes and contents below a folder, git's own left out; what is no file counts by its kind."""
    found = hashlib.sha256()
    for top, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name not in (".git", "__pycache__"))
        links = [name for name in names if Path(top, name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(top, name)
            mode, content = path.lstat().st_mode, b""
            if stat.S_ISLNK(mode):
                content = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(mode):
                content = path.read_bytes()
            found.update(f"{path.relative_to(folder)!s} {mode:o} {len(content)}\n".encode("utf-8", "surrogateescape"))
            found.update(content)
    return found.hexdigest()
