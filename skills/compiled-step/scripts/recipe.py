"""Replace the torch model by one compiled ragged step, and add the build that makes it."""

import argparse
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = ("checkpoint.py", "build.py", "step.cpp", "attention.h", "kernels.h", "llama.h", "pool.h")
COMPILERS = ("c++", "g++", "clang++")
COUNTS = {"two-threads": 2, "one-thread": 1}
BUILD = '\n[build]\ncommand = ["python", "build.py"]\ntimeout_s = 600\n'


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"compiled-step: {reason}", file=sys.stderr)
    sys.exit(3)


def check(workspace: Path) -> None:
    """Refuse a workspace whose model is not the torch model, or that has files or a build of its own in the way."""
    if not any(shutil.which(name) for name in COMPILERS):
        refuse(f"no C++ compiler on PATH (looked for {', '.join(COMPILERS)})")
    model = workspace / "model.py"
    text = model.read_text(encoding="utf-8") if model.is_file() else ""
    if "libstep" in text:
        refuse("model.py is the compiled step already")
    if not all(piece in text for piece in ("import torch\n", "class Chunk:", "class Model:")):
        refuse("there is no model.py with a torch Model and its Chunk")
    for name in NEW:
        if (workspace / name).exists():
            refuse(f"there is a {name} already")
    if "build" in tomllib.loads((workspace / "candidate.toml").read_text(encoding="utf-8")):
        refuse("candidate.toml has a [build] of its own")


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--variant", choices=COUNTS, default="two-threads")
    options = parser.parse_args()
    check(options.workspace)
    for name in NEW:
        shutil.copyfile(ASSETS / name, options.workspace / name)
    model = (ASSETS / "model.py").read_text(encoding="utf-8")
    count = COUNTS[options.variant]
    model = re.sub(r"^THREADS = \d+$", f"THREADS = {count}", model, flags=re.MULTILINE)
    (options.workspace / "model.py").write_text(model, encoding="utf-8")
    manifest = options.workspace / "candidate.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.rstrip("\n") + "\n" + BUILD, encoding="utf-8")
    print(f"model.py: a compiled step with {count} thread{'s' if count > 1 else ''}; candidate.toml: [build]")


if __name__ == "__main__":
    main()
