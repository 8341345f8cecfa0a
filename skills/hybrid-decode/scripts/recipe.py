"""Replace generate() by a decode loop over caches of both kinds: keys and values, and states of fixed size."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = ("model.py", "delta.py", "pages.py", "scheduler.py")


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"hybrid-decode: {reason}", file=sys.stderr)
    sys.exit(3)


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    workspace = parser.parse_args().workspace
    generation = workspace / "generation.py"
    text = generation.read_text(encoding="utf-8") if generation.is_file() else ""
    if "self._model.generate(" not in text:
        refuse("generation.py does not call generate() of Transformers")
    if "OlmoHybridForCausalLM" not in text:
        refuse("generation.py does not serve OLMo Hybrid")
    for name in NEW:
        if (workspace / name).exists():
            refuse(f"there is a {name} already")
    for name in ("generation.py", *NEW):
        shutil.copyfile(ASSETS / name, workspace / name)
    print("generation.py: own decode loop; added model.py, delta.py, pages.py (two kinds of cache) and scheduler.py")


if __name__ == "__main__":
    main()
