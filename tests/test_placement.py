"""One reference at a time has the accelerator's memory, and the user says which device that is."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")

import torch

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.hardware import REFERENCE_DEVICE as VARIABLE
from pytest_vibeserve.placement import Residence, compute_exactly, make_room, reference_device


class Traveller(torch.nn.Linear):
    """A layer that notes where it is sent: the host keeps its numbers, and no accelerator is needed to see it move."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.places: list[str] = []

    def to(self, device: str) -> Traveller:  # type: ignore[override]
        self.places.append(device)
        return self


def test_without_an_accelerator_the_reference_computes_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert reference_device("cpu") == "cpu"
    assert reference_device("cuda") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert reference_device("metal") == ("mps" if torch.backends.mps.is_available() else "cpu")


def test_the_variable_names_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "meta")
    assert reference_device("cuda") == "meta"
    layer = Residence("cuda").admitted(torch.nn.Linear(2, 2))
    assert layer.weight.device.type == "meta"


@pytest.mark.parametrize("stated", ["nonsense", "cuda:99"])
def test_a_device_that_is_none_is_a_matter_of_usage(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, stated)
    with pytest.raises(UsageError, match=f"^{VARIABLE}={stated}: .*name a device"):
        reference_device("cuda")


def test_a_reference_that_is_used_sends_the_others_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "meta")
    first, second = Residence("cuda"), Residence("cuda")
    one, other = first.admitted(Traveller()), second.admitted(Traveller())
    assert one.places == ["meta", "cpu"]
    first.come()
    first.come()
    assert (one.places, other.places) == (["meta", "cpu", "meta"], ["meta", "cpu"])
    make_room()
    assert one.places[-1] == "cpu"


def test_on_the_host_nobody_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "cpu")
    first, second = Residence("cuda"), Residence("cuda")
    one, other = first.admitted(Traveller()), second.admitted(Traveller())
    make_room()
    assert {*one.places, *other.places} == {"cpu"}
    assert len(one.places) == 1


def test_float32_is_not_rounded_on_the_way() -> None:
    code = (
        "import torch; from pytest_vibeserve.placement import compute_exactly; compute_exactly(); "
        "print(torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, "
        "torch.get_float32_matmul_precision())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["False", "False", "highest"], done.stderr
    compute_exactly()
