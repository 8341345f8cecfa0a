"""Reuse the keys and values of the longest common prefix that any slot still holds."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SCHEDULER = {
    "from model import Chunk, Logits, Model\n": (
        "from model import Chunk, Logits, Model\nfrom prefixes import PrefixCache\n"
    ),
    "        self._free = list(range(model.slots))\n": (
        "        self._free = list(range(model.slots))\n        self._prefixes = PrefixCache(model)\n"
    ),
    '''        """Give a sequence a free slot."""
        slot = min(self._free)
        self._free.remove(slot)
        return Active(sequence, slot)
''': '''        """Give a sequence a free slot, with the longest prefix of its prompt that any slot holds."""
        for active in self._active:
            self._prefixes.remember(active.slot, active.sequence.tokens[: active.cached])
        slot, cached = self._prefixes.claim(self._free, sequence.tokens)
        self._free.remove(slot)
        return Active(sequence, slot, cached)
''',
    """        self._active.remove(active)
        self._free.append(active.slot)
""": """        self._active.remove(active)
        self._free.append(active.slot)
        self._prefixes.remember(active.slot, active.sequence.tokens[: active.cached])
""",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"prefix-cache: {reason}", file=sys.stderr)
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
    workspace = parser.parse_args().workspace
    path = workspace / "scheduler.py"
    if (workspace / "prefixes.py").exists():
        refuse("there is a prefixes.py already")
    # One slot serves one sequence at a time; a few more remember what earlier sequences left behind.
    text = edited(path, SCHEDULER).replace("SLOTS = 1\n", "SLOTS = 8\n")
    path.write_text(text, encoding="utf-8")
    shutil.copyfile(ASSETS / "prefixes.py", workspace / "prefixes.py")
    print("scheduler.py: new sequences begin with the longest prefix that a slot holds; added prefixes.py")


if __name__ == "__main__":
    main()
