"""Put a Llama of one's own, with caches of a fixed size, in the place of Transformers' class."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = "llama.py"
DECODING = {
    "        self._net = quantised.load(folder, torch.bfloat16).to(self._device)\n": (
        "        self._net = Llama(folder).to(self._device)\n"
    ),
    "import quantised\n": "from llama import Llama\n",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"static-cache-decode: {reason}", file=sys.stderr)
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
    if (workspace / NEW).exists():
        refuse(f"there is a {NEW} already")
    edited(workspace / "quantised.py", {"def unpacked(stored: ": ""})
    text = edited(workspace / "decoding.py", DECODING)
    (workspace / "decoding.py").write_text(text, encoding="utf-8")
    shutil.copyfile(ASSETS / NEW, workspace / NEW)
    print("llama.py, decoding.py: the model written out, with fused projections and caches of a fixed size")


if __name__ == "__main__":
    main()
