"""A target that this machine cannot run is refused in one sentence, before anything is made for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_vibeserve.errors import ExitCode, UsageError
from pytest_vibeserve.hardware import APPLE, NVIDIA, require_hardware
from pytest_vibeserve.target import load_target

CUDA = (
    "llama_3_8b", "qwen3_32b_code_edit", "olmo_hybrid_prefix_cache", "moonshine_streaming", "show_o2_h100",
)  # fmt: skip
METAL = ("llama_mlx_json", "show_o2_macbook")
LINUX = ("linux", "x86_64")


@pytest.mark.parametrize("profile", ["full", "full_shape"])
@pytest.mark.parametrize("name", CUDA)
def test_without_a_driver_a_cuda_target_says_what_it_asks_for(name: str, profile: str, tmp_path: Path) -> None:
    target = load_target(name, profile)
    with pytest.raises(UsageError, match=rf"^{name} in profile {profile} runs on cuda \(.*no NVIDIA driver .* tiny"):
        require_hardware(target, (tmp_path / "driver",))
    (tmp_path / "driver").touch()
    require_hardware(target, (tmp_path / "driver",))


@pytest.mark.parametrize("profile", ["full", "full_shape"])
@pytest.mark.parametrize("name", METAL)
def test_elsewhere_than_on_apple_silicon_a_metal_target_says_so(name: str, profile: str) -> None:
    target = load_target(name, profile)
    with pytest.raises(UsageError, match=rf"^{name} in profile {profile} runs on metal .*this is linux on x86_64"):
        require_hardware(target, machine=LINUX)
    require_hardware(target, machine=APPLE)


@pytest.mark.parametrize("name", [*CUDA, *METAL])
def test_every_tiny_profile_runs_anywhere(name: str) -> None:
    require_hardware(load_target(name, "tiny"), (), LINUX)


@pytest.mark.parametrize("name", [*CUDA, *METAL])
def test_the_gate_ends_as_a_usage_error_and_makes_no_model(name: str, tmp_path: Path) -> None:
    if any(path.exists() for path in NVIDIA) or sys.platform == "darwin":
        pytest.skip("this machine may run it")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--vibeserve-target", name]
    command += ["--vibeserve-profile", "full_shape", "--vibeserve-candidate", "starter"]
    environment = {**os.environ, "VIBESERVE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == ExitCode.USAGE, done.stdout + done.stderr
    assert f"ERROR: {name} in profile full_shape runs on" in done.stderr
    assert not (tmp_path / "cache").exists()
