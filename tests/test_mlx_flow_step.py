"""The image model in MLX draws what PyTorch's draws, serves it, and is offered where a GPU of Apple computes."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from completion_contract import served

from pytest_vibeserve.target import load_target
from pytest_vibeserve.weights import model_folder
from vibeserve_loop.skills import techniques_for

ROOT = Path(__file__).resolve().parents[1]
NAME = "mlx-flow-step"
STARTER = ROOT / "targets" / "show_o2_h100" / "starter"
BY_TORCH = """
import torch
from painter import Painter
torch.set_grad_enabled(False)
painter = Painter.load(folder, torch.float32)
"""
BY_MLX = """
import mlx.core as mx
from painter import Painter
assert "torch" not in sys.modules
painter = Painter(folder, mx.float32)
"""
# Latents of the model's own size and of another, whose positions are stretched; words of none, few, and too many.
DRAWN = """
noise = np.random.default_rng(2).standard_normal((16, 16, 16), dtype=np.float32)
wide = np.random.default_rng(3).standard_normal((16, 8, 20), dtype=np.float32)
pixels = [painter.paint(words, noise, 3, 4.0) for words in ("a fox in fog", "", "by the sea " * 60)]
assert pixels[0].shape == (64, 64, 3) and pixels[0].dtype == np.float32
pixels.append(painter.paint("a wide plain", wide, 2, 1.5))
print(json.dumps(np.concatenate([one[::4, ::4].ravel() for one in pixels]).tolist()))
"""
# One image, as the server computes it.
ASKED = {"prompt": "a fox in fog", "size": "64x64", "steps": 4, "guidance": 2.5, "output_format": "npy"}
ALONE = """
noise = np.random.default_rng(9).standard_normal((16, 16, 16), dtype=np.float32)
print(json.dumps(painter.paint("a fox in fog", noise, 4, 2.5).ravel().tolist()))
"""

needs_mlx = pytest.mark.skipif(find_spec("mlx") is None, reason="MLX is not installed: pip install 'mlx[cpu]'")


@pytest.fixture(scope="module")
def model() -> Path:
    return model_folder(load_target("show_o2_macbook", "tiny"))


def applied(skill: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    recipe = ROOT / "skills" / skill / "scripts" / "recipe.py"
    command = [sys.executable, "-I", *options, str(recipe), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """The starter, computing by MLX."""
    shutil.copytree(STARTER, tmp_path / "candidate", ignore=shutil.ignore_patterns("__pycache__"))
    done = applied(NAME, tmp_path / "candidate")
    assert done.returncode == 0, done.stderr
    return tmp_path / "candidate"


def printed(folder: Path, program: str, model: Path) -> np.ndarray:
    begun = "import json, sys\nfrom pathlib import Path\nimport numpy as np\nfolder = Path(sys.argv[1])\n"
    command = [sys.executable, "-B", "-c", begun + program, str(model)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return np.array(json.loads(done.stdout))


@needs_mlx
def test_images_are_those_of_the_starter(candidate: Path, model: Path) -> None:
    assert np.allclose(printed(STARTER, BY_TORCH + DRAWN, model), printed(candidate, BY_MLX + DRAWN, model), atol=2e-4)


@needs_mlx
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++, which MLX compiles with on a CPU")
def test_a_compiled_step_draws_the_same(candidate: Path, model: Path) -> None:
    compiled = BY_MLX.replace("mx.float32", "mx.float32, compiled=True")
    plain, fused = (printed(candidate, program + DRAWN, model) for program in (BY_MLX, compiled))
    assert np.allclose(plain, fused, atol=2e-5)


@needs_mlx
def test_clients_at_once_are_served_the_image_that_one_thread_draws(candidate: Path, model: Path) -> None:
    expected = printed(candidate, BY_MLX.replace("float32", "bfloat16") + ALONE, model)

    def asked(seed: int) -> tuple[int, dict]:
        return server.ask(ASKED | {"seed": seed}, path="/v1/images/generations")

    with served(candidate, model) as server:
        with ThreadPoolExecutor(3) as clients:
            answers = list(clients.map(asked, (9, 1, 9)))
        refused = server.ask({**ASKED, "size": "63x64", "seed": 9}, path="/v1/images/generations")
    assert [status for status, _ in answers] == [200] * 3
    first, other, again = (np.load(io.BytesIO(base64.b64decode(body["data"][0]["b64_json"]))) for _, body in answers)
    assert np.allclose(first.ravel(), expected, atol=1e-5)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-2)
    assert refused[0] == 400


@needs_mlx
def test_a_candidate_whose_step_was_made_faster_by_pytorch_can_be_taken_over(candidate: Path, tmp_path: Path) -> None:
    shutil.copytree(STARTER, tmp_path / "faster", ignore=shutil.ignore_patterns("__pycache__"))
    for skill in ("flow-prefix-state", "inactive-token-skipping", "channels-last-decoder", NAME):
        assert applied(skill, tmp_path / "faster").returncode == 0
    taken, plain = (
        {path.name: path.read_bytes() for path in one.iterdir()} for one in (tmp_path / "faster", candidate)
    )
    assert taken == plain
    assert not any(b"torch" in text for text in taken.values())


def test_without_mlx_the_recipe_says_what_is_missing_and_changes_nothing(tmp_path: Path) -> None:
    shutil.copytree(STARTER, tmp_path / "candidate", ignore=shutil.ignore_patterns("__pycache__"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "candidate").iterdir()}
    # Without the site's packages nothing is installed.
    done = applied(NAME, tmp_path / "candidate", "-S")
    assert (done.returncode, "pip install 'mlx" in done.stderr) == (3, True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "candidate").iterdir()} == before


@pytest.mark.parametrize(("profile", "offered"), [("full", True), ("full_shape", True), ("tiny", False)])
def test_it_is_offered_on_metal_alone(profile: str, offered: bool) -> None:
    names = {technique.name for technique in techniques_for(load_target("show_o2_macbook", profile))}
    assert (NAME in names) == offered
    assert "flow-prefix-state" in names
