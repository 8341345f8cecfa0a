"""A laboratory for the loop: a small target, skills of a few lines, and a gate that is quick to answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GATE = Path(__file__).with_name("fake_gate.py")
TARGET = """
schema = 1
name = "lab"
modality = "text"
[model]
id = "lab-model"
builder = "reference:build"
dtype = "bfloat16"
[hardware]
backend = "metal"
tuned_on = "nothing"
[[mix]]
name = "all"
weight = 1
prompt_tokens = [4, 8]
output_tokens = [4, 8]
[[load]]
name = "c16"
concurrency = 16
[[objective]]
metric = "output_throughput"
load = "c16"
direction = "max"
unit = "tok/s"
"""
CANDIDATE = """
schema = 1
[serve]
command = ["python", "server.py", "--model", "{model}", "--host", "{host}", "--port", "{port}"]
ready = "/health"
"""
SKILL = """---
name: {name}
description: For tests.
metadata:
  modality: "text"
  backend: "metal"
  recipe: "scripts/recipe.py"
  requires: "{requires}"
  relieves: "{relieves}"
  variants: "{variants}"
---
"""
RECIPE = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
variant = sys.argv[3] if len(sys.argv) > 3 else ""
{body}
"""


def faster(factor: float) -> str:
    """The body of a recipe that multiplies the speed."""
    return f"""
speed = folder / "speed"
speed.write_text(str(float(speed.read_text()) * {factor}))
print("{factor} times as fast")
"""


@dataclass(frozen=True)
class Lab:
    """A folder with a target, skills and runs of its own, and the command to try on them."""

    folder: Path

    @property
    def target(self) -> Path:
        return self.folder / "targets" / "lab"

    def skill(self, name: str, body: str, *, relieves: str = "", requires: str = "", variants: str = "") -> None:
        """Add a skill whose recipe runs `body`."""
        place = self.folder / "skills" / name
        (place / "scripts").mkdir(parents=True)
        facts = SKILL.format(name=name, requires=requires, relieves=relieves, variants=variants)
        (place / "SKILL.md").write_text(facts)
        (place / "scripts" / "recipe.py").write_text(RECIPE.format(body=body))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the command in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "vibeserve_loop", *words], cwd=self.folder, env=_environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        process = self.start(*words)
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`run lab` with the fake gate and no sandbox."""
        return self.call("run", "lab", *self.gate, "--sandbox", "none", "--seed", "7", *words)

    @property
    def gate(self) -> tuple[str, str]:
        return "--gate-command", f"{sys.executable} -I -S -B {GATE}"

    @property
    def latest(self) -> Path:
        return max((self.folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime)

    def rounds(self) -> list[dict]:
        """The lines of the latest run; one that is being written is none yet."""
        lines = (self.latest / "rounds.jsonl").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


def new_lab(folder: Path) -> Lab:
    """A laboratory in an empty folder, its starter at speed 100."""
    found = Lab(folder)
    starter = found.target / "starter"
    starter.mkdir(parents=True)
    (found.target / "target.toml").write_text(TARGET)
    (found.target / "OBJECTIVE.md").write_text("Serve the lab's model.\n")
    (starter / "candidate.toml").write_text(CANDIDATE)
    (starter / "server.py").write_text("print('serving')\n")
    (starter / "speed").write_text("100")
    return found


def _environment() -> dict[str, str]:
    checkout = Path(__file__).resolve().parents[2]
    paths = [str(checkout), str(checkout / "loop"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
