"""Compute no more places of a step, or of the words, than somebody reads, and all modulations of an image at once."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PAINTER = {
    """        for now, then in pairwise(times):
            told = prefix.velocity(latent.to(self.flow.dtype), now[None].to(latent.device)).float()
""": """        told_by = prefix.moments(times[:-1].to(latent.device))
        for (now, then), moment in zip(pairwise(times), told_by, strict=True):
            told = prefix.velocity(latent.to(self.flow.dtype), moment).float()
""",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"inactive-token-skipping: {reason}", file=sys.stderr)
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
    edited(workspace / "prefix.py", {"    def velocity(self, latent: torch.Tensor, time: torch.Tensor)": ""})
    text = edited(workspace / "painter.py", PAINTER)
    (workspace / "painter.py").write_text(text, encoding="utf-8")
    shutil.copyfile(ASSETS / "prefix.py", workspace / "prefix.py")
    print(
        "prefix.py, painter.py: places that nobody reads left out of the last layer; modulations of all steps at once"
    )


if __name__ == "__main__":
    main()
