"""Compile the step of the flow once, when the server starts: fused kernels on CPU, one captured graph on CUDA."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

PREFIX = {
    "    def __init__(self, flow: Showo2, tokens: list[list[int]], count: int) -> None:\n"
    '        """Compute them; `count` places of time and image will follow."""\n': (
        "    def __init__(self, flow: Showo2, tokens: list[list[int]], count: int, room: int = 0) -> None:\n"
        '        """Compute them, padded to `room` places; `count` places of time and image will follow."""\n'
    ),
    "        longest = max(lengths)\n": "        longest = max(room, *lengths)\n",
}
PAINTER = {
    """        self.words = Words(**stated["words"])
""": """        self.words = Words(**stated["words"])
        self.step, self.native = Prefix.velocity, (0, 0)

    def compile_step(self) -> None:
        \"\"\"Compile the step for images of the size that the model has positions for; others take it as written.\"\"\"
        side = math.isqrt(self.flow.shape.vision.positions) * self.flow.shape.patch
        mode = "reduce-overhead" if self.vae.mean.is_cuda else "default"
        self.step, self.native = torch.compile(Prefix.velocity, dynamic=False, mode=mode), (side, side)
        noise = np.zeros((self.flow.shape.channels, side, side), dtype=np.float32)
        for words in ("", "two words"):
            self.paint(words, noise, 2, 2.0)
""",
    "        prefix = Prefix(self.flow, words, places)\n": (
        "        is_native = tuple(noise.shape[1:]) == self.native\n"
        "        step, room = (self.step, self.words.longest + 2) if is_native else (Prefix.velocity, 0)\n"
        "        prefix = Prefix(self.flow, words, places, room)\n"
    ),
    "prefix.velocity(latent.to(self.flow.dtype), moment).float()": (
        "step(prefix, latent.to(self.flow.dtype), moment).float()"
    ),
    "import json\n": "import json\nimport math\n",
}
SERVER = {
    """        self._thread = ThreadPoolExecutor(1)
""": """        self._thread = ThreadPoolExecutor(1)
        # A graph belongs to the thread that captured it.
        self._thread.submit(self._prepared).result()

    def _prepared(self) -> None:
        with torch.inference_mode():
            self._painter.compile_step()
""",
    "import argparse\nimport asyncio\n": 'import os\n\nos.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")\n'
    "\nimport argparse\nimport asyncio\n",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"compiled-flow-step: {reason}", file=sys.stderr)
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
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        refuse("there is no C++ compiler, which the step is compiled with")
    parts = (("prefix.py", PREFIX), ("painter.py", PAINTER), ("server.py", SERVER))
    texts = {name: edited(workspace / name, changes) for name, changes in parts}
    for name, text in texts.items():
        (workspace / name).write_text(text, encoding="utf-8")
    print("prefix.py, painter.py, server.py: words padded to one length; one step compiled when the server starts")


if __name__ == "__main__":
    main()
