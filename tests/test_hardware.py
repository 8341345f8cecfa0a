"""A target that this machine cannot run is refused in one sentence, before anything is made for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_vibeserve.errors import ExitCode, UsageError
from pytest_vibeserve.hardware import APPLE, NVIDIA, REFERENCE_DEVICE, require_hardware, require_memory
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


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A machine whose `nvidia-smi` tells so many MiB of a first card."""
    monkeypatch.delenv(REFERENCE_DEVICE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def tell(mebibytes: int) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho {mebibytes}\necho 1\n")
        program.chmod(0o755)

    return tell


H100, H200 = 81_559, 143_771


@pytest.mark.parametrize(
    ("name", "memory", "has_baseline", "fits"),
    [
        ("llama_3_8b", H100, True, True), ("olmo_hybrid_prefix_cache", H100, False, True),
        ("olmo_hybrid_prefix_cache", H100, True, False), ("olmo_hybrid_prefix_cache", H200, True, True),
        ("qwen3_32b_code_edit", H100, False, False), ("qwen3_32b_code_edit", H200, False, True),
        ("qwen3_32b_code_edit", H200, True, False), ("moonshine_streaming", 24_564, True, True),
    ],
)  # fmt: skip
def test_a_card_without_room_is_refused_in_one_sentence(
    name: str, memory: int, has_baseline: bool, fits: bool, card: Callable[[int], None]
) -> None:
    card(memory)
    target = load_target(name, "full_shape")
    if fits:
        require_memory(target, has_baseline)
        return
    with pytest.raises(UsageError, match=rf"^{name} in profile full_shape takes .*{REFERENCE_DEVICE} to cuda:1 or cpu"):
        require_memory(target, has_baseline)


def test_a_reference_on_another_device_leaves_room(
    card: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load_target("qwen3_32b_code_edit", "full_shape")
    card(H100)
    monkeypatch.setenv(REFERENCE_DEVICE, "cuda:1")
    require_memory(target, False)
    with pytest.raises(UsageError, match=r"for each of the candidate and the baseline, .*: leave the baseline out"):
        require_memory(target, True)
    card(H200)
    require_memory(target, True)


@pytest.mark.parametrize("name", [*CUDA, *METAL])
def test_the_smallest_profile_asks_for_no_memory_of_a_card(name: str, card: Callable[[int], None]) -> None:
    card(1)
    require_memory(load_target(name, "tiny"), True)
