"""Keys stay in the environment: they are masked in what is kept, and looked for in what an agent leaves behind."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from vibeserve_loop.records import AgentResult

SHORTEST_KEY = 8
MASK = "***"
LONGEST_FILE = 8 * 2**20
LONGEST_TEXT = 4_000
"""Characters that are kept of whatever an agent says of itself."""
SECRET_NAME = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|AUTH)(?:$|_)", re.IGNORECASE
)
PLAIN_VALUE = re.compile(r"[0-9.]+|true|false|yes|no|none|disabled|enabled", re.IGNORECASE)
Result = TypeVar("Result", bound=AgentResult)


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of variables that are named as keys are, the longest first; paths and plain settings are none."""
    found = {
        value for name, value in environment.items()
        if SECRET_NAME.search(name) and not PLAIN_VALUE.fullmatch(value) and not _is_place(value)
    }  # fmt: skip
    return _known(found)


def without(text: str, keys: Sequence[str]) -> str:
    """The text with every key in it replaced by stars."""
    for key in _known(keys):
        text = text.replace(key, MASK)
    return text


def masked(log: Callable[[str], None], keys: Sequence[str]) -> Callable[[str], None]:
    """The log with every key in it replaced by stars."""
    return lambda line: log(without(line, keys))


def masked_result(result: Result, keys: Sequence[str]) -> Result:
    """The result with every key in its strings replaced by stars, and what no file can hold by question marks."""
    changed: dict[str, object] = {}
    for name in type(result).model_fields:
        value = getattr(result, name)
        if isinstance(value, str):
            changed[name] = sayable(value, keys)
        elif isinstance(value, tuple):
            changed[name] = tuple(sayable(part, keys) if isinstance(part, str) else part for part in value)
    return result.model_copy(update=changed)


def sayable(text: str, keys: Sequence[str]) -> str:
    """Words as they may be kept: their beginning, without keys, and `?` for halves of letters and for nulls."""
    return without(text, keys)[:LONGEST_TEXT].encode("utf-8", "replace").decode().replace("\0", "?")


def scrub(file: Path, keys: Sequence[str]) -> None:
    """Replace every key in a file that a program wrote; of one that is longer than LONGEST_FILE the end is kept."""
    if not file.is_file() or file.is_symlink():
        return
    known = [os.fsencode(key) for key in _known(keys)]
    spare = max(map(len, known), default=0)
    before = after = tail_of(file, LONGEST_FILE + spare)
    for key in known:
        after = after.replace(key, MASK.encode())
    if cut := file.stat().st_size > len(before):
        # Half a key is not found: whatever may be the rest of one goes.
        after = after[spare:]
    if cut or after != before:
        file.write_bytes(after)


def tail_of(file: Path, most: int) -> bytes:
    """The last bytes of a file, `most` at the most; none of one that is not there."""
    if not file.is_file():
        return b""
    with file.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - most))
        return stream.read(most)


def leaked(folder: Path, keys: Sequence[str]) -> tuple[str, ...]:
    """The files below a folder, git's own left out, that hold a key."""
    known, found = [os.fsencode(key) for key in _known(keys)], []
    if not known:
        return ()
    for top, names, files in os.walk(folder):
        names[:] = [name for name in names if name != ".git"]
        for path in (Path(top, name) for name in files):
            if path.is_file() and not path.is_symlink() and _holds(path, known):
                found.append(str(path.relative_to(folder)))
    return tuple(sorted(found))


def _holds(path: Path, keys: Iterable[bytes]) -> bool:
    with path.open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return False
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(data.find(key) >= 0 for key in keys)


def _known(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({key for key in keys if len(key) >= SHORTEST_KEY}, key=lambda key: (-len(key), key)))


def _is_place(value: str) -> bool:
    return value.startswith(("/", "~")) and len(value) < 4096 and Path(value).expanduser().exists()
