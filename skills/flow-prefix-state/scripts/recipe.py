"""Keep what the words before the image gave, for all steps of an image, and leave out what no step needs."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = "prefix.py"
PAINTER = {
    "from network import Attention, Shape, Stack, Vision\n": (
        "from network import Attention, Shape, Stack, Vision\nfrom prefix import Prefix\n"
    ),
    """    def sequences(self, words: list[int], places: int) -> tuple[torch.Tensor, list[int]]:
        \"\"\"Two sequences [2, n] with room for so many places of the image, and where it begins in each.\"\"\"
        rows, starts = [], []
        for kept in (words[: self.longest], []):
            row = [self.begin, *kept, self.image]
            starts.append(len(row))
            rows.append(row + [self.pad] * (places + self.longest + 2 - len(kept)))
        return torch.tensor(rows), starts
""": """    def before(self, words: list[int]) -> list[list[int]]:
        \"\"\"What stands before the image, with words and without.\"\"\"
        return [[self.begin, *kept, self.image] for kept in (words[: self.longest], [])]
""",
    "        tokens, starts = self.words.sequences("
    """self.tokenizer.encode(prompt, add_special_tokens=False).ids, places)
        tokens = tokens.to(latent.device)
""": """        words = self.words.before(self.tokenizer.encode(prompt, add_special_tokens=False).ids)
        prefix = Prefix(self.flow, words, places)
""",
    """            both = latent.to(self.flow.dtype).expand(2, -1, -1, -1)
            told = self.flow.velocity(both, now.expand(2).to(latent.device), tokens, starts).float()
""": """            told = prefix.velocity(latent.to(self.flow.dtype), now[None].to(latent.device)).float()
""",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"flow-prefix-state: {reason}", file=sys.stderr)
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
    for name in ("network.py", "show_o2.py"):
        edited(workspace / name, {})
    text = edited(workspace / "painter.py", PAINTER)
    (workspace / "painter.py").write_text(text, encoding="utf-8")
    shutil.copyfile(ASSETS / NEW, workspace / NEW)
    print("painter.py, prefix.py: the words' keys and values kept over all steps; one latent read for both branches")


if __name__ == "__main__":
    main()
