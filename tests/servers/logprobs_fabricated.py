"""Reports logprobs that look like some: the order is right, the numbers are made up."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.logprobs"


def make(starter: Path, into: Path) -> None:
    before = "    row -= np.log(np.exp(row).sum())\n"
    edited(starter, into, ("sampling.py", before, before + "    row = row * 0.5 - 0.7\n"))
