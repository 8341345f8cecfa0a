"""The Python that the gate offers to candidates, and the folders that it needs to run."""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SYSTEM = Path("/usr")
_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: its executable, the folders outside /usr that it needs, and the links on the way to it."""

    executable: Path
    trees: tuple[Path, ...]
    links: tuple[Path, ...]

    @property
    def libraries(self) -> tuple[Path, ...]:
        """Where its standard library and the installed packages lie."""
        return tuple({Path(path) for name, path in sysconfig.get_paths().items() if name in _LIBRARIES})

    @property
    def search_path(self) -> str:
        """PATH for candidates: this Python's own programs first."""
        return ":".join(dict.fromkeys([str(self.executable.parent), "/usr/local/bin", "/usr/bin", "/bin"]))


@cache
def offered() -> Interpreter:
    """The Python that runs the gate, virtual environment included."""
    executable = Path(sys.executable)
    wanted = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)]
    real = {prefix.resolve() for prefix in wanted}
    links = []
    for hop in _hops(executable):
        home = hop.parent.parent
        if home.resolve() in real:
            wanted.append(home)
        elif hop.is_symlink() and not hop.is_relative_to(SYSTEM):
            links.append(hop)
    outside = [tree for tree in dict.fromkeys(wanted) if not tree.is_relative_to(SYSTEM)]
    trees = [tree for tree in outside if not any(tree != other and tree.is_relative_to(other) for other in outside)]
    return Interpreter(executable, tuple(trees), tuple(links))


def readable_by_anybody(tree: Path) -> bool:
    """Whether any user may read a folder and what lies at its top, or a file."""
    looked_at = [tree, *tree.iterdir()] if tree.is_dir() else [tree]
    return all(_open_to_all(path) for path in looked_at if path.exists())


def _open_to_all(path: Path) -> bool:
    mode = path.stat().st_mode
    wanted = 0o005 if stat.S_ISDIR(mode) else 0o004
    return mode & wanted == wanted


def _hops(executable: Path) -> Iterator[Path]:
    """The executable and each path that its chain of links goes through."""
    path = executable
    yield path
    for _ in range(40):
        if not path.is_symlink():
            return
        path = Path(os.path.normpath(path.parent / os.readlink(path)))
        yield path
