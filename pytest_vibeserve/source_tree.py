"""A candidate's folder: what lies in it, its digest, what may not lie in it, and a copy of what was digested."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

IGNORED = frozenset({".git", "__pycache__"})
START_UP_HOOKS = frozenset({"sitecustomize", "usercustomize"})
BINARY_SUFFIXES = frozenset({".pyc", ".pyo", ".whl", ".egg", ".pyz"})
BINARY_MAGICS = (
    b"\x7fELF",
    b"!<arch>\n",
    b"\0asm",
    b"BC\xc0\xde",
    b"\x50\xed\x55\xba",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"MZ\x90\0",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or link; `name` is its path below the folder, with slashes."""

    name: str
    path: Path
    kind: Literal["file", "link", "special"]
    executable: bool


def entries(folder: Path, linked: bool = False) -> Iterator[Entry]:
    """Every file and link below the folder by name; `.git`, `__pycache__` and folders without files are left out.

    With `linked`, what the links at its top stand for counts as lying there, as in a target that shares a starter.
    """
    return iter(sorted(_walk(folder, "", linked), key=lambda entry: os.fsencode(entry.name)))


def _walk(folder: Path, prefix: str, linked: bool) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        for item in found:
            name = prefix + item.name
            followed = linked and os.path.exists(item.path)
            if item.name == ".git" or (item.name in IGNORED and item.is_dir(follow_symlinks=False)):
                continue
            if item.is_dir(follow_symlinks=followed):
                yield from _walk(Path(item.path), name + "/", linked=False)
            elif item.is_symlink() and not followed:
                yield Entry(name, Path(item.path), "link", False)
            elif item.is_file(follow_symlinks=followed):
                yield Entry(name, Path(item.path), "file", bool(item.stat().st_mode & 0o111))
            else:
                yield Entry(name, Path(item.path), "special", False)


def tree_digest(folder: Path, linked: bool = False) -> str:
    """SHA-256 (hex) over names, executable bits, link targets and bytes; the same for every checkout of a tree."""
    digest = hashlib.sha256()
    for entry in entries(folder, linked):
        if entry.kind == "file":
            size = entry.path.stat().st_size
            _head(digest, "x" if entry.executable else "f", entry.name, size)
            with entry.path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        else:
            target = os.fsencode(os.readlink(entry.path)) if entry.kind == "link" else b""
            _head(digest, entry.kind, entry.name, len(target))
            digest.update(target)
    return digest.hexdigest()


def _head(digest: hashlib._Hash, kind: str, name: str, size: int) -> None:
    digest.update(b"%s %d %s\0" % (kind.encode(), size, os.fsencode(name)))


def faults(folder: Path, has_build: bool) -> Iterator[str]:
    """One sentence for each thing in the folder that a candidate may not hold: the file and what to do instead."""
    root = os.path.realpath(folder)
    for entry in entries(folder):
        yield from hook_faults([entry])
        if entry.kind == "link":
            target = os.readlink(entry.path)
            if os.path.isabs(target) or not _inside(os.path.realpath(entry.path), root):
                yield f"{entry.name}: a link that leaves the folder (to {target}): put the file itself there"
        elif entry.kind == "special":
            yield f"{entry.name}: neither a file nor a folder nor a link: remove it"
        elif not has_build and is_binary(entry.path):
            yield (
                f"{entry.name}: a binary without a [build] that makes it: "
                "remove it, keep its source, and add [build] with the command that makes it"
            )


def hook_faults(found: Iterable[Entry]) -> Iterator[str]:
    """One sentence for each file that Python would run by itself at its start."""
    for entry in found:
        if entry.name.lower().endswith(".pth"):
            yield f"{entry.name}: *.pth files may not be there, Python runs them: rename it if it is data, or remove it"
        for part in entry.name.split("/"):
            if part.split(".")[0] in START_UP_HOOKS:
                yield f"{entry.name}: {part.split('.')[0]} may not be there, Python runs it: import its code instead"


def is_binary(file: Path) -> bool:
    """Whether the file is compiled code by its suffix or first bytes."""
    if file.suffix.lower() in BINARY_SUFFIXES:
        return True
    with file.open("rb") as opened:
        return opened.read(8).startswith(BINARY_MAGICS)


def copy_tree(folder: Path, destination: Path, linked: bool = False) -> None:
    """Copy what `tree_digest` covers, and nothing else, to a new folder that anybody may read."""
    destination.mkdir(mode=0o755)
    destination.chmod(0o755)
    for entry in entries(folder, linked):
        copy = destination / entry.name
        for parent in reversed(copy.relative_to(destination).parents[:-1]):
            (destination / parent).mkdir(exist_ok=True)
            (destination / parent).chmod(0o755)
        if entry.kind == "link":
            copy.symlink_to(os.readlink(entry.path))
        elif entry.kind == "file":
            shutil.copyfile(entry.path, copy)
            copy.chmod(0o755 if entry.executable else 0o644)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all below it, also what was made unreadable; nothing happens when it is gone already."""
    for below, folders, _ in os.walk(folder):
        for name in folders:
            path = os.path.join(below, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
