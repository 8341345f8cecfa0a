"""Set how many threads compute the model."""

import argparse
import re
import sys
from pathlib import Path
from typing import NoReturn

COUNTS = {"one-thread": 1, "two-threads": 2}
COMPILED = re.compile(r"^THREADS = (\d+)\n", flags=re.MULTILINE)
SETTING = re.compile(r"torch\.set_num_threads\((\d+)\)")
# Where the torch candidates load their weights; the setting must come before the first product.
LOADING = {
    "model.py": '        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))\n',
    "generation.py": "        self._model: Any = AutoModelForCausalLM.from_pretrained(",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"thread-layout: {reason}", file=sys.stderr)
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


def changed(text: str, name: str, count: int) -> str | None:
    """Return the text with the count set; None when this file does not set it."""
    for pattern in (COMPILED, SETTING):
        found = pattern.search(text)
        if found is not None:
            if int(found[1]) == count:
                refuse(f"{name} computes with {count} threads already")
            return text[: found.start(1)] + str(count) + text[found.end(1) :]
    if LOADING[name] not in text or "import torch\n" not in text:
        return None
    return text.replace(LOADING[name], f"        torch.set_num_threads({count})\n" + LOADING[name])


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--variant", choices=COUNTS, default="one-thread")
    options = parser.parse_args()
    count = COUNTS[options.variant]
    for name in LOADING:
        path = options.workspace / name
        text = changed(edited(path, {}), name, count) if path.is_file() else None
        if text is not None:
            path.write_text(text, encoding="utf-8")
            print(f"{name}: the model is computed with {count} thread{'s' if count > 1 else ''}")
            return
    refuse("neither model.py nor generation.py loads a model that the recipe knows")


if __name__ == "__main__":
    main()
