"""The compiled step is built for real and computes what Transformers computes in float32."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SKILLS = Path(__file__).resolve().parents[1] / "skills"
RECIPE = SKILLS / "compiled-step" / "scripts" / "recipe.py"
TORCH_MODEL = "import torch\n\n\nclass Chunk:\n    pass\n\n\nclass Model:\n    pass\n"
MANIFEST = """schema = 1

[serve]  # kept as it is
command = ["python", "server.py", "--port", "{port}"]
ready = "/health"
"""
SIZES: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 112,
    "max_position_embeddings": 96,
    "eos_token_id": [1, 5],
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 5000.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}
# Runs in a process of its own, in the candidate's folder: feeds the chunks of each step and saves all logits.
FEED = """
import json, sys
from pathlib import Path
import numpy as np
from model import Chunk, Model
model = Model(Path(sys.argv[1]), 4, 96)
assert (model.slots, model.context, model.vocabulary, tuple(model.eos_ids)) == (4, 96, 200, (1, 5))
rows = []
for step in json.loads(sys.argv[2]):
    if "copy" in step:
        model.copy_prefix(*step["copy"])
    else:
        rows.append(model.step([Chunk(*chunk) for chunk in step["chunks"]]))
np.save(sys.argv[3], np.concatenate(rows))
"""

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("c++", "g++", "clang++")), reason="no C++ compiler on PATH"
)
Step = dict[str, Any]


@dataclass(frozen=True)
class Built:
    """A candidate that was built, a model folder, and the float32 and bfloat16 models of Transformers."""

    candidate: Path
    model: Path
    reference: Any
    honest: Any

    def feed(self, steps: list[Step], into: Path) -> np.ndarray[Any, Any]:
        """Return the logits of all steps, one row after the other."""
        command = [sys.executable, "-c", FEED, str(self.model), json.dumps(steps), str(into / "rows.npy")]
        subprocess.run(command, cwd=self.candidate, check=True)
        rows: np.ndarray[Any, Any] = np.load(into / "rows.npy")
        return rows


def logits(model: Any, tokens: list[int]) -> np.ndarray[Any, Any]:
    import torch

    with torch.no_grad():
        rows: np.ndarray[Any, Any] = model(torch.tensor([tokens])).logits[0].float().numpy()
    return rows


def rms(error: np.ndarray[Any, Any]) -> float:
    return float(np.sqrt(np.mean(np.square(error))))


def apply(workspace: Path, *options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(RECIPE), str(workspace), *options]
    environment = {**os.environ, "PATH": os.environ["PATH"] if path is None else path}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def workspace(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(TORCH_MODEL)
    (folder / "candidate.toml").write_text(MANIFEST)
    return folder


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    root = tmp_path_factory.mktemp("compiled-step")
    torch.manual_seed(7)
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(request.param, **SIZES))
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            spread = {"embed": 1.0, "q_proj": 1.5, "k_proj": 1.5, "lm_head": 2.5}
            scale = next((value for key, value in spread.items() if key in name), 1.0)
            torch.nn.init.normal_(weight, 0, scale if "embed" in name else scale / math.sqrt(weight.shape[1]))
        else:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    model.to(dtype=torch.bfloat16)
    model.save_pretrained(root / "model")
    candidate = workspace(root / "candidate")
    assert apply(candidate).returncode == 0
    subprocess.run([sys.executable, "build.py"], cwd=candidate, check=True)
    reference = AutoModelForCausalLM.from_pretrained(root / "model", dtype=torch.float32)
    return Built(candidate, root / "model", reference, model)


def prompts() -> list[list[int]]:
    draw = np.random.default_rng(3)
    return [draw.integers(2, 200, size=length).tolist() for length in (70, 9, 33, 48)]


@needs_compiler
def test_prefill_is_nearer_to_float32_than_the_bfloat16_model_of_transformers(built: Built, tmp_path: Path) -> None:
    rows = built.feed([{"chunks": [(slot, 0, tokens, True) for slot, tokens in enumerate(prompts())]}], tmp_path)
    exact = np.concatenate([logits(built.reference, tokens) for tokens in prompts()])
    honest = np.concatenate([logits(built.honest, tokens) for tokens in prompts()])
    assert rows.shape == exact.shape
    assert rms(rows - exact) < rms(honest - exact)


@needs_compiler
def test_ragged_chunks_of_any_size_give_the_logits_of_one_pass(built: Built, tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    exact = [logits(built.reference, tokens) for tokens in prompts()]
    at, steps, expected = [0] * 4, [], []
    while any(start < len(tokens) for start, tokens in zip(at, prompts(), strict=True)):
        chunks = []
        for slot in draw.permutation(4).tolist():
            start = at[slot]
            tokens = prompts()[slot][start : start + int(draw.choice([1, 1, 2, 5, 17]))]
            every = bool(draw.integers(2))
            if tokens:
                chunks.append((slot, start, tokens, every))
                at[slot] = start + len(tokens)
                expected.append(exact[slot][start if every else at[slot] - 1 : at[slot]])
        steps.append({"chunks": chunks})
    difference = built.feed(steps, tmp_path) - np.concatenate(expected)
    assert rms(difference) < 0.03
    assert np.abs(difference).max() < 0.3


@needs_compiler
@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 47])
def test_a_copied_prefix_continues_like_the_whole_prompt(built: Built, tmp_path: Path, length: int) -> None:
    tokens = prompts()[3]
    steps: list[Step] = [
        {"chunks": [(2, 0, tokens), (1, 0, prompts()[0])]},
        {"copy": (2, 1, length)},
        {"chunks": [(1, length, tokens[length:], True)]},
    ]
    difference = built.feed(steps, tmp_path)[2:] - logits(built.reference, tokens)[length:]
    assert rms(difference) < 0.03


@needs_compiler
@pytest.mark.parametrize(
    "chunks",
    [[(4, 0, [2])], [(0, 96, [2])], [(0, 0, [200])], [(0, 0, [])], [(1, 0, [2]), (1, 1, [3])]],
    ids=["slot", "position", "token", "empty", "slot twice"],
)
def test_what_lies_outside_the_model_is_refused(built: Built, tmp_path: Path, chunks: list[Any]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        built.feed([{"chunks": chunks}], tmp_path)


@pytest.mark.parametrize("kind", ["default", "llama3"])
def test_the_rotary_frequencies_are_those_of_the_library(kind: str, tmp_path: Path) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(**SIZES | {"rope_parameters": SIZES["rope_parameters"] | {"rope_type": kind}})
    config.save_pretrained(tmp_path)
    program = "import sys; from pathlib import Path; from checkpoint import read_architecture; "
    program += "print(read_architecture(Path(sys.argv[1])).frequencies.tolist())"
    command = [sys.executable, "-B", "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=RECIPE.parents[1] / "assets", capture_output=True, text=True, check=True)
    assert np.allclose(json.loads(done.stdout), LlamaRotaryEmbedding(config).inv_freq, rtol=1e-6, atol=0)


@needs_compiler
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope type 'yarn' is not supported"),
        ({"attention_bias": True}, "attention_bias is not supported"),
        ({"use_sliding_window": True}, "use_sliding_window is not supported"),
        ({"model_type": "gemma"}, "model_type 'gemma' is not supported, only 'llama' and 'qwen3'"),
        ({"intermediate_size": 100}, "no multiple of 16"),
        ({"hidden_size": 192}, "config.json asks for"),
    ],
)
def test_an_unsupported_checkpoint_is_refused_with_the_reason(
    built: Built, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    shutil.copy(built.model / "model.safetensors", tmp_path)
    config = {**json.loads((built.model / "config.json").read_text()), **change}
    (tmp_path / "config.json").write_text(json.dumps(config))
    load = "import sys; from pathlib import Path; from model import Model; Model(Path(sys.argv[1]), 1, 32)"
    command = [sys.executable, "-c", load, str(tmp_path)]
    ended = subprocess.run(command, cwd=built.candidate, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert reason in ended.stderr.splitlines()[-1]


@needs_compiler
def test_the_recipe_adds_a_build_and_keeps_the_rest_of_the_manifest(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "candidate")
    ended = apply(folder, "--variant", "one-thread")
    assert (ended.returncode, len(ended.stdout.splitlines())) == (0, 1)
    text = (folder / "candidate.toml").read_text()
    assert text.startswith(MANIFEST)
    assert tomllib.loads(text)["build"]["command"] == ["python", "build.py"]
    assert "\nTHREADS = 1\n" in (folder / "model.py").read_text()


@needs_compiler
def test_the_recipe_applies_once(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "candidate")
    assert apply(folder).returncode == 0
    again = apply(folder)
    assert (again.returncode, again.stdout) == (3, "")
    assert "already" in again.stderr


def test_the_recipe_says_when_there_is_no_compiler(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "candidate")
    ended = apply(folder, path=str(tmp_path))
    assert ended.returncode == 3
    assert "no C++ compiler on PATH" in ended.stderr
    assert (folder / "model.py").read_text() == TORCH_MODEL


@needs_compiler
def test_the_recipe_wants_the_torch_model_first(tmp_path: Path) -> None:
    (tmp_path / "candidate.toml").write_text(MANIFEST)
    ended = apply(tmp_path)
    assert ended.returncode == 3
    assert "no model.py" in ended.stderr
