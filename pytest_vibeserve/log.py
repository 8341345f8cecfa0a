"""What a candidate wrote, as its last lines for a message."""

from __future__ import annotations

from pathlib import Path

_LINES = 20
_BYTES = 4000


class Log:
    """A log file with one part for each command; the supervisor appends to it."""

    def __init__(self, path: Path) -> None:
        """Start the file anew."""
        self.path = path.resolve()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        self._begun = 0

    def begin(self, title: str) -> None:
        """Start a part: `tail` looks no further back."""
        with self.path.open("ab") as file:
            file.write(f"== {title}\n".encode())
            self._begun = file.tell()

    def tail(self) -> str:
        """The last lines of the part, without what a terminal would take for commands; says so when there are none."""
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(self._begun, size - _BYTES))
            text = file.read().decode("utf-8", errors="replace")
        plain = "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
        return "\n".join(plain.strip().splitlines()[-_LINES:]) or "(it wrote nothing)"
