"""Compute the image flow and its decoder by MLX: the step compiled, the words read once, no place that nobody reads."""

import argparse
import importlib.util
import re
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = ("network.py", "show_o2.py", "vae.py", "painter.py")
OLD = ("prefix.py",)
"""What another recipe brought along, and nobody reads any more."""
SERVER = {
    r"^import torch\n": "",
    r"^import numpy as np\n": "import mlx.core as mx\nimport numpy as np\n",
    r"^        self\._painter = Painter\.load\(.*\n        self\._thread = ThreadPoolExecutor\(1\)\n": (
        "        self._thread = ThreadPoolExecutor(1)\n"
        "        # What MLX computes belongs to the thread that began it.\n"
        "        self._painter = self._thread.submit(Painter, folder, mx.bfloat16).result()\n"
    ),
    r"^        with torch\.inference_mode\(\):\n    (        pixels = self\._painter\.paint\(.*\n)": r"\1",
    r"^def _device\(\) -> str:\n(?:    .*\n|\n(?=    ))+\n\n": "",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"mlx-flow-step: {reason}", file=sys.stderr)
    sys.exit(3)


def edited(path: Path) -> str:
    """Return the server's text without torch; every piece must be there exactly once."""
    text = path.read_text(encoding="utf-8")
    for old, new in SERVER.items():
        text, found = re.subn(old, new, text, flags=re.MULTILINE)
        if found != 1:
            refuse(f"{path.name} does not hold exactly once: {old}")
    if "torch" in text:
        refuse(f"{path.name} needs torch for something else")
    return text


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    workspace = parser.parse_args().workspace
    if importlib.util.find_spec("mlx") is None:
        refuse("MLX is not installed: pip install 'mlx>=0.30' (on Linux 'mlx[cpu]>=0.30') beside the gate")
    missing = [name for name in (*NEW, "server.py") if not (workspace / name).is_file()]
    if missing:
        refuse(f"there is no {missing[0]}")
    if "mlx" in (workspace / "painter.py").read_text(encoding="utf-8"):
        refuse("painter.py computes by MLX already")
    text = edited(workspace / "server.py")
    (workspace / "server.py").write_text(text, encoding="utf-8")
    for name in NEW:
        shutil.copyfile(ASSETS / name, workspace / name)
    for name in OLD:
        (workspace / name).unlink(missing_ok=True)
    print(f"{', '.join(NEW)}, server.py: the flow and its decoder by MLX, the step compiled and the words read once")


if __name__ == "__main__":
    main()
