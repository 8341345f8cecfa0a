"""Decode in a few captured shapes, of as many sequences as the variant says where there are several."""

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import NoReturn

NEW = "captured.py"
ASSET = Path(__file__).resolve().parents[1] / "assets" / NEW
SLOTS = {"slots-32": 32, "slots-64": 64, "slots-8": 8}
MODEL = {
    '_rotation(config["rope_parameters"], self._head_dim, self.context)\n': (
        '_rotation(config["rope_parameters"], self._head_dim, self.context + 1)\n'
    ),
    "        shape = (len(self._layers), slots, self._kv_heads, self.context, self._head_dim)\n": (
        "        # One position is spare: slots that have no token in a step write there.\n"
        "        shape = (len(self._layers), slots, self._kv_heads, self.context + 1, self._head_dim)\n"
    ),
    "        self._values = torch.zeros(shape, dtype=torch.bfloat16, device=self._device)\n": (
        "        self._values = torch.zeros(shape, dtype=torch.bfloat16, device=self._device)\n"
        "        self._decoder = Decoder(self)\n"
    ),
    "        rows = _Rows(chunks, self._device)\n": (
        "        if all(len(chunk.tokens) == 1 for chunk in chunks):\n"
        "            decoded = self._decoder.step([(chunk.slot, chunk.start, chunk.tokens[0]) for chunk in chunks])\n"
        '            sys.audit("serving.end")\n'
        "            return decoded\n"
        "        rows = _Rows(chunks, self._device)\n"
    ),
    "\nLogits = NDArray[np.float32]\n": "\nfrom captured import Decoder\n\nLogits = NDArray[np.float32]\n",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"captured-decode: {reason}", file=sys.stderr)
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
    parser.add_argument("--variant", choices=sorted(SLOTS), default="slots-32")
    options = parser.parse_args()
    if (options.workspace / NEW).exists():
        refuse(f"there is a {NEW} already")
    text = edited(options.workspace / "model.py", MODEL)
    scheduler = options.workspace / "scheduler.py"
    stated = re.search(r"^SLOTS = (\d+)$", edited(scheduler, {}), flags=re.MULTILINE)
    if stated is None:
        refuse("scheduler.py has no constant SLOTS")
    count = SLOTS[options.variant] if int(stated[1]) > 1 else 1
    (options.workspace / "model.py").write_text(text, encoding="utf-8")
    changed = scheduler.read_text(encoding="utf-8").replace(stated[0], f"SLOTS = {count}")
    scheduler.write_text(changed, encoding="utf-8")
    shutil.copyfile(ASSET, options.workspace / NEW)
    print(f"captured.py, model.py: decode steps captured in a few shapes; {count} sequences at most")


if __name__ == "__main__":
    main()
