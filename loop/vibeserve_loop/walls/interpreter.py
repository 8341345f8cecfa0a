"""Where this Python lies, for sandboxes that show it to a command and nothing else beside the system."""

from __future__ import annotations

import sys
from pathlib import Path

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache")


def interpreter() -> tuple[str, ...]:
    """The folders of this Python and of what it was made from; links are followed, for both ends must exist inside."""
    found = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    return tuple(sorted(path for path in found if path not in ("/", "/usr")))
