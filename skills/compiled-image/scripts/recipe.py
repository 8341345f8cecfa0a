"""Replace the torch model of images by one compiled image, and add the build that makes it."""

import argparse
import shutil
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = (
    "build.py", "checkpoint.py", "tables.py", "image.cpp", "lanes.h", "products.h", "attention.h", "layers.h", "flow.h",
    "decoder.h",
)  # fmt: skip
REPLACED = ("network.py", "show_o2.py", "vae.py", "prefix.py")
COMPILERS = ("c++", "g++", "clang++")
BUILD = '\n[build]\ncommand = ["python", "build.py"]\ntimeout_s = 600\n'
SERVER = {
    "import torch\n": "",
    "Painter.load(folder, torch.bfloat16).to(_device())": "Painter(folder)",
    '"""Load the model onto the best device there is, in the weights\' own precision."""': (
        '"""Load the model; it is computed on the CPU, in the weights\' own precision."""'
    ),
    """        with torch.inference_mode():
            pixels = self._painter.paint(order.prompt, order.noise, order.steps, order.guidance)
""": """        pixels = self._painter.paint(order.prompt, order.noise, order.steps, order.guidance)
""",
    """def _device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    torch.set_num_threads(1)
    return "cpu"


""": "",
    # Pixels of an image hardly repeat: the fastest level packs them as well as the usual one.
    'format="PNG")': 'format="PNG", compress_level=1)',
}
# What compiles torch's step when the server starts, where that was tried before.
WARMED = {
    """        # A graph belongs to the thread that captured it.
        self._thread.submit(self._prepared).result()

    def _prepared(self) -> None:
        with torch.inference_mode():
            self._painter.compile_step()
""": "",
    'import os\n\nos.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")\n\n': "",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"compiled-image: {reason}", file=sys.stderr)
    sys.exit(3)


def read(path: Path) -> str:
    """Return a file's text; "" when there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def check(workspace: Path) -> None:
    """Refuse a workspace whose model is not the torch model, or that has files or a build of its own in the way."""
    if not any(shutil.which(name) for name in COMPILERS):
        refuse(f"no C++ compiler on PATH (looked for {', '.join(COMPILERS)})")
    painter = read(workspace / "painter.py")
    if "libimage" in painter:
        refuse("painter.py paints by a compiled image already")
    if not all(piece in painter for piece in ("import torch\n", "class Painter", "from show_o2 import Showo2\n")):
        refuse("there is no painter.py with a torch Painter of Show-o2")
    for name in NEW:
        if (workspace / name).exists():
            refuse(f"there is a {name} already")
    if "build" in tomllib.loads((workspace / "candidate.toml").read_text(encoding="utf-8")):
        refuse("candidate.toml has a [build] of its own")


def served(workspace: Path) -> str:
    """Return the text of server.py without torch; every piece that goes must be there exactly once."""
    text = read(workspace / "server.py")
    for old, new in WARMED.items():
        text = text.replace(old, new)
    for old, new in SERVER.items():
        if text.count(old) != 1:
            refuse(f"server.py does not hold exactly once: {old.strip().splitlines()[0]}")
        text = text.replace(old, new)
    if "torch" in text:
        refuse("server.py uses torch in ways that are not known")
    return text


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    workspace = parser.parse_args().workspace
    check(workspace)
    text = served(workspace)
    for name in (*NEW, "painter.py"):
        shutil.copyfile(ASSETS / name, workspace / name)
    for name in REPLACED:
        (workspace / name).unlink(missing_ok=True)
    (workspace / "server.py").write_text(text, encoding="utf-8")
    manifest = workspace / "candidate.toml"
    manifest.write_text(read(manifest).rstrip("\n") + "\n" + BUILD, encoding="utf-8")
    print("painter.py, server.py: words, steps and decoder in one compiled call, no torch; candidate.toml: [build]")


if __name__ == "__main__":
    main()
