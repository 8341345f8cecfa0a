"""Where the reference computes, in which arithmetic, and which of several references has the accelerator's memory."""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakSet

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.hardware import REFERENCE_DEVICE

_everybody: WeakSet[Residence] = WeakSet()


def reference_device(backend: str) -> str:
    """The device of the reference: the one that the variable names, or the backend's own where there is one.

    UsageError where the variable names nothing that torch knows or this machine has.
    """
    import torch

    stated = os.environ.get(REFERENCE_DEVICE, "")
    if not stated:
        own = {"cuda": torch.cuda.is_available(), "metal": torch.backends.mps.is_available()}
        return {"cuda": "cuda", "metal": "mps"}[backend] if own.get(backend) else "cpu"
    try:
        torch.empty(1, device=stated)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{REFERENCE_DEVICE}={stated}: {reason}; name a device such as cuda:1, mps or cpu") from error
    return stated


def compute_exactly() -> None:
    """Let no product or convolution of float32 be rounded to fewer bits on the way, in this process."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


class Residence:
    """The models of one reference: on an accelerator while they are used, on the host while another's are.

    Models may share parameters, which move once.
    """

    def __init__(self, backend: str) -> None:
        """Nobody lives here yet; `backend` is that of the target's hardware."""
        self._backend, self._models, self._is_home = backend, list[Any](), True
        _everybody.add(self)

    def admitted(self, model: Any) -> Any:
        """The model on the reference's device, where it comes whenever `come` is called from now on."""
        compute_exactly()
        self._models.append(model)
        self._is_home = False
        self.come()
        return model

    def come(self) -> None:
        """Move here what was moved away; the models of other references make room."""
        if self._is_home:
            return
        device = reference_device(self._backend)
        if device != "cpu":
            for other in [one for one in _everybody if one is not self]:
                other.leave()
        for model in self._models:
            model.to(device)
        self._is_home = True

    def leave(self) -> None:
        """Move every model to the host, and give back what torch keeps of the accelerator's memory."""
        import torch

        if not self._models or reference_device(self._backend) == "cpu":
            return
        for model in self._models:
            model.to("cpu")
        self._is_home = False
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        elif torch.backends.mps.is_available():
            torch.mps.empty_cache()


def make_room() -> None:
    """Let all references leave the accelerator, for something else that needs its memory; they come back by use."""
    for one in list(_everybody):
        one.leave()
