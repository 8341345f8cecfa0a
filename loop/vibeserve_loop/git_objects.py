"""Git's loose objects, trees and refs, read and written here: what a round needs of git, without starting a process.

Only for folders in which git itself would do nothing else: no ignore rules, no attributes, no nested repositories.
Object formats: gitformat-pack(5) and the "Git Objects" chapter of Pro Git.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SPECIAL = (".gitignore", ".gitattributes", ".gitmodules", ".git")
LARGEST_KEPT = 2**30
"""Of files that are compared with what was committed; a larger one is written anew."""
FOLDER, LINK, PROGRAM, PLAIN = "40000", "120000", "100755", "100644"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree: its mode as git writes it, and the object's hash."""

    mode: str
    name: bytes
    sha: str


class GitObjects:
    """The loose objects of one repository; KeyError for an object that is not loose."""

    def __init__(self, repository: Path) -> None:
        """Take the `.git` folder."""
        self._home = repository
        self._entries = lru_cache(maxsize=128)(self._parsed)
        self._plain = lru_cache(maxsize=128)(self._checked)

    def snapshot(self, folder: Path) -> str | None:
        """Write every file of a folder; the tree's hash, or None where only git knows what belongs into it."""
        return self._tree_of(os.fsencode(folder), top=True)

    def commit(self, tree: str, parent: str | None, signature: str, message: str) -> str:
        """Write a commit as `git commit-tree -m` does; `signature` is name, address, seconds and zone."""
        lines = [f"tree {tree}", *([f"parent {parent}"] if parent else [])]
        text = "\n".join([*lines, f"author {signature}", f"committer {signature}", "", message.rstrip("\n"), ""])
        return self._write("commit", text.encode())

    def plain_tree(self, sha: str) -> str | None:
        """The tree of a commit, or None where git has to be asked: attributes in it, modules, or packed objects."""
        try:
            tree = self._read(sha).split(b"\n", 1)[0].removeprefix(b"tree ").decode()
            return tree if self._plain(tree) else None
        except KeyError:
            return None

    def holds(self, sha: str) -> bool:
        """Whether that loose object is there."""
        return self._path(sha).is_file()

    def restore(self, tree: str, folder: Path) -> None:
        """Make a folder hold exactly the tree's files; its `.git` is left alone, links are not followed."""
        self._restore(tree, os.fsencode(folder), top=True)

    def point(self, ref: str, sha: str) -> None:
        """Set a ref, in one step."""
        path = self._home / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(os.fsencode(path), sha.encode() + b"\n", half=f"{path}.lock")

    def _tree_of(self, folder: bytes, *, top: bool = False) -> str | None:
        entries = []
        for item in _listed(folder):
            if top and item.name == b".git":
                continue
            if os.fsdecode(item.name) in SPECIAL:
                return None
            sha, mode = self._stored(item)
            if sha is None:
                return None
            if sha:
                entries.append(Entry(mode, item.name, sha))
        if not entries and not top:
            return ""
        entries.sort(key=lambda entry: entry.name + (b"/" if entry.mode == FOLDER else b""))
        return self._write("tree", b"".join(_packed(entry) for entry in entries))

    def _stored(self, item: os.DirEntry[bytes]) -> tuple[str | None, str]:
        """Hash and mode of what is there; "" for what git does not record, None for what it decides itself."""
        if item.is_symlink():
            return self._write("blob", os.readlink(item.path)), LINK
        if item.is_dir():
            return self._tree_of(item.path), FOLDER
        found = item.stat(follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return "", PLAIN
        return self._write("blob", _content(item.path)), PROGRAM if found.st_mode & stat.S_IXUSR else PLAIN

    def _restore(self, tree: str, folder: bytes, *, top: bool = False) -> None:
        wanted = {entry.name: entry for entry in self._entries(tree)}
        for item in _listed(folder):
            if item.name not in wanted and not (top and item.name == b".git"):
                _remove(item.path)
        for entry in wanted.values():
            self._place(entry, os.path.join(folder, entry.name))

    def _place(self, entry: Entry, path: bytes) -> None:
        if entry.mode == FOLDER:
            if os.path.islink(path) or not os.path.isdir(path):
                _remove(path)
                os.mkdir(path)
            self._restore(entry.sha, path)
        elif self._differs(entry, path):
            if entry.mode == LINK or os.path.isdir(path):
                _remove(path)
            if entry.mode == LINK:
                os.symlink(self._read(entry.sha), path)
            else:
                # What is new is written where it belongs: nothing but an unfinished round or a marked move can be torn.
                half = "" if os.path.lexists(path) else os.fsdecode(path)
                _put(path, self._read(entry.sha), 0o755 if entry.mode == PROGRAM else 0o644, half=half)

    def _differs(self, entry: Entry, path: bytes) -> bool:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return True
        if stat.S_ISLNK(found.st_mode):
            return entry.mode != LINK or _sha("blob", os.readlink(path))[0] != entry.sha
        if found.st_size > LARGEST_KEPT:
            return True
        mode = PROGRAM if found.st_mode & stat.S_IXUSR else PLAIN
        return not stat.S_ISREG(found.st_mode) or mode != entry.mode or _sha("blob", _content(path))[0] != entry.sha

    def _checked(self, tree: str) -> bool:
        for entry in self._entries(tree):
            if entry.name == b".gitattributes" or entry.mode not in (FOLDER, LINK, PROGRAM, PLAIN):
                return False
            if entry.mode == FOLDER and not self._plain(entry.sha):
                return False
            if not self._path(entry.sha).is_file():
                return False
        return True

    def _path(self, sha: str) -> Path:
        return self._home / "objects" / sha[:2] / sha[2:]

    def _parsed(self, tree: str) -> tuple[Entry, ...]:
        return tuple(_entries(self._read(tree)))

    def _write(self, kind: str, data: bytes) -> str:
        sha, whole = _sha(kind, data)
        path = self._path(sha)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            half = path.with_name(f"tmp_obj_{secrets.token_hex(4)}")
            _put(os.fsencode(path), zlib.compress(whole, 1), 0o444, half=str(half))
        return sha

    def _read(self, sha: str) -> bytes:
        try:
            whole = zlib.decompress(_content(os.fsencode(self._path(sha))))
        except FileNotFoundError:
            raise KeyError(sha) from None
        return whole.partition(b"\0")[2]


def _sha(kind: str, data: bytes) -> tuple[str, bytes]:
    whole = f"{kind} {len(data)}".encode() + b"\0" + data
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest(), whole


def _packed(entry: Entry) -> bytes:
    return entry.mode.encode() + b" " + entry.name + b"\0" + bytes.fromhex(entry.sha)


def _entries(data: bytes) -> Iterator[Entry]:
    place = 0
    while place < len(data):
        end = data.index(b"\0", place)
        mode, _, name = data[place:end].partition(b" ")
        yield Entry(mode.decode(), name, data[end + 1 : end + 21].hex())
        place = end + 21


def _listed(folder: bytes) -> list[os.DirEntry[bytes]]:
    with os.scandir(folder) as found:
        return list(found)


def _content(path: bytes) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _put(path: bytes, data: bytes, mode: int = 0o644, *, half: str = "") -> None:
    """Write a file in one step: whole, or not at all; `half` is its name until it is whole, which may be its own."""
    before = os.fsencode(half) or path + b"." + secrets.token_hex(4).encode()
    handle = os.open(before, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(handle, "wb") as stream:
        stream.write(data)
    if before != path:
        os.replace(before, path)


def _remove(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)
