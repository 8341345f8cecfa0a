"""Step all sequences together, and let waiting ones join between steps."""

import argparse
import re
import sys
from pathlib import Path
from typing import NoReturn

SCHEDULER = {
    "Steps the waiting sequences in their order;": "Steps all sequences that have a slot together;",
    '''        """Give the next sequence its slot when the last one has ended."""
        if not self._active:
            self._active.append(self._place(self._waiting.popleft()))
''': '''        """Give waiting sequences the free slots, in their order."""
        while self._free and self._waiting:
            self._active.append(self._place(self._waiting.popleft()))
''',
    '''        """Return the chunks of the next step: of each sequence the tokens that are not cached yet."""
        return [(active, self._chunk(active)) for active in self._active]
''': '''        """Return the chunks of the next step: one new prompt alone, or the next token of every sequence."""
        new = [one for one in self._active if len(one.sequence.tokens) == one.sequence.prompt_length]
        return [(active, self._chunk(active)) for active in new[:1] or self._active]
''',
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"continuous-batching: {reason}", file=sys.stderr)
    sys.exit(3)


def edited(path: Path, changes: dict[str, str]) -> str:
    """Return the text of a file with each piece replaced; every piece must be there exactly once."""
    if not path.is_file():
        refuse(f"there is no {path.name}")
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        if text.count(old) != 1:
            refuse(f"{path.name} does not hold exactly once: {old.strip().splitlines()[0]}")
        text = text.replace(old, new)
    return text


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    path = parser.parse_args().workspace / "scheduler.py"
    text, found = re.subn(r"^SLOTS = \d+$", "SLOTS = 16", edited(path, SCHEDULER), flags=re.MULTILINE)
    if found != 1:
        refuse("scheduler.py has no constant SLOTS")
    path.write_text(text, encoding="utf-8")
    print("scheduler.py: up to 16 sequences in each step, new ones admitted between steps")


if __name__ == "__main__":
    main()
