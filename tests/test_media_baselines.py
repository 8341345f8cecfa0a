"""The baselines of the media and JSON scenarios stand alone, say what they need, and share the starter's files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_vibeserve.candidate import load_candidate

TARGETS = Path(__file__).resolve().parents[1] / "targets"
BASELINES = {
    "moonshine_streaming/baselines/transformers-batched": (("server.py",), ("transformers", "torch")),
    "show_o2_h100/baselines/torch-compile": (("network.py", "painter.py", "server.py", "vae.py"), ("torch", "pillow")),
    "llama_mlx_json/baselines/mlx-lm": (("server.py", "chat.py"), ("mlx", "mlx-lm", "llguidance")),
}


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_a_candidate_that_says_what_it_needs(name: str) -> None:
    folder, (shared, needed) = TARGETS / name, BASELINES[name]
    assert load_candidate(folder).serve.ready == "/health"
    for file in shared:
        assert (folder / file).read_bytes() == (folder.parents[1] / "starter" / file).read_bytes()
    needs = re.search(r"\*\*Needs\*\*(.*?)\n\n", (folder / "README.md").read_text(encoding="utf-8"), re.S)
    assert needs is not None
    assert all(f"`{package}`" in needs[1] for package in needed)
