"""Share beginnings of prompts in both kinds of cache, pages and states, and step all sequences together."""

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
BLOCKS = {"block-64": 64, "block-256": 256, "block-1024": 1024}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"hybrid-prefix-cache: {reason}", file=sys.stderr)
    sys.exit(3)


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--variant", choices=BLOCKS, default="block-64")
    options = parser.parse_args()
    model, scheduler = options.workspace / "model.py", options.workspace / "scheduler.py"
    if not scheduler.is_file() or not model.is_file() or "def begin_from(" not in model.read_text(encoding="utf-8"):
        refuse("there is no model.py with two kinds of cache and a scheduler.py beside it")
    if (options.workspace / "prefixes.py").exists():
        refuse("there is a prefixes.py already")
    block = BLOCKS[options.variant]
    text = (ASSETS / "prefixes.py").read_text(encoding="utf-8")
    text = re.sub(r"^BLOCK = \d+$", f"BLOCK = {block}", text, flags=re.MULTILINE)
    (options.workspace / "prefixes.py").write_text(text, encoding="utf-8")
    shutil.copyfile(ASSETS / "scheduler.py", scheduler)
    print(f"scheduler.py: prompts go on from shared beginnings, states copied each {block} tokens; added prefixes.py")


if __name__ == "__main__":
    main()
