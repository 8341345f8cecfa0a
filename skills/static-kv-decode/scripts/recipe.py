"""Replace `generate` of Transformers by a decode loop over a torch model with static caches of keys and values."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = ("model.py", "scheduler.py")


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"static-kv-decode: {reason}", file=sys.stderr)
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
    if "AutoModelForCausalLM" not in text:
        refuse("generation.py names a class of model, and model.py computes a Llama or a Qwen3")
    for name in NEW:
        if (workspace / name).exists():
            refuse(f"there is a {name} already")
    for name in ("generation.py", *NEW):
        shutil.copyfile(ASSETS / name, workspace / name)
    print("generation.py: own decode loop; added model.py (static caches) and scheduler.py (one sequence at a time)")


if __name__ == "__main__":
    main()
