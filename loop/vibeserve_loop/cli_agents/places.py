"""What of the machine a program must see to start: itself, its interpreter, what is installed beside it, its files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from vibeserve_loop.options import path_in

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/etc/alternatives", "/etc/ld.so.cache")
BROAD = ("/", "/tmp", "/var", "/var/tmp", "/home", "/root", "/srv", "/mnt", "/etc", "/Users")
PACKAGES = ("site-packages", "dist-packages")
MOST_LINKS = 20


def own_places() -> tuple[Path, ...]:
    """This Python, its packages, and the loop's own: what the server for the gate is started from in there."""
    package = Path(__file__).resolve().parents[1]
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent, package}
    plugin = next((top / "pytest_vibeserve" for top in package.parents if (top / "pytest_vibeserve").is_dir()), None)
    found |= {plugin} if plugin else set()
    found |= {Path(path) for path in sys.path if Path(path).name in PACKAGES and Path(path).is_dir()}
    return _told(found)


def places_of(command: tuple[str, ...], workspace: Path) -> tuple[Path, ...]:
    """What the command's words name: the program with its installation, and the folders of files.

    Of a folder that holds the run, or half of the machine, only the file itself is shown.
    """
    program = shutil.which(command[0])
    found = set(_installation(Path(os.path.abspath(program)), workspace)) if program else set()
    for word in command[1:]:
        path = path_in(word)
        if path is not None and path.is_absolute():
            found |= set(_beside(path, workspace))
    return _told(found)


def _told(found: set[Path]) -> tuple[Path, ...]:
    return tuple(sorted(path for path in found if path != Path("/") and not _is_system(path)))


def _is_system(path: Path) -> bool:
    return any(path == Path(top) or Path(top) in path.parents for top in SYSTEM)


def _beside(path: Path, workspace: Path) -> Iterator[Path]:
    """The folder of a file, or the folder that is named, unless it shows too much."""
    folder = path if path.is_dir() else path.parent
    run = workspace.parent
    if str(folder) in BROAD or folder == Path.home() or folder in (workspace, run) or folder in run.parents:
        if not path.is_dir():
            yield path
        return
    yield folder


def _installation(program: Path, workspace: Path, *, deeper: bool = True) -> Iterator[Path]:
    for path in _links(program):
        modules = next((place for place in path.parents if place.name == "node_modules"), None)
        yield from (modules,) if modules else _beside(path, workspace)
        yield from _python(path.parent.parent)
    interpreter = _interpreter(program) if deeper else None
    if interpreter is not None:
        yield from _installation(interpreter, workspace, deeper=False)


def _links(path: Path) -> Iterator[Path]:
    """The path and all that it leads to, link by link."""
    for _ in range(MOST_LINKS):
        yield path
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / os.readlink(path)))
    yield path.resolve()


def _python(root: Path) -> Iterator[Path]:
    """The root of a Python or of a virtual environment, what that was made from, and folders that it adds to itself."""
    settings = root / "pyvenv.cfg"
    if not settings.is_file():
        if _is_python(root):
            yield root
        return
    yield root
    lines = (line.partition("=") for line in settings.read_text("utf-8", "replace").splitlines())
    home = next((value.strip() for key, _, value in lines if key.strip() == "home"), "")
    if home:
        yield from (path.parent.parent for path in _links(Path(home, "python3")) if _is_python(path.parent.parent))
    for added in root.glob("lib/python3*/site-packages/*.pth"):
        for line in added.read_text("utf-8", "replace").splitlines():
            if line.startswith("/") and Path(line).is_dir():
                yield Path(line)


def _is_python(root: Path) -> bool:
    return any(root.glob("lib/python3*/os.py"))


def _interpreter(program: Path) -> Path | None:
    """What a script is started by, as its first line says."""
    try:
        with program.resolve().open("rb") as stream:
            line = stream.readline(512)
    except PermissionError:
        return None
    if not line.startswith(b"#!"):
        return None
    words = [word for word in line[2:].decode("utf-8", "replace").split() if not word.startswith("-")]
    if words and Path(words[0]).name == "env":
        words = words[1:]
    found = shutil.which(words[0]) if words else None
    return Path(os.path.abspath(found)) if found else None
