"""The servers that the gate is tried on: one file for each cheat and for each honest variant."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from gates import Gates

FOLDER = Path(__file__).resolve().parent / "servers"
STARTER = Path(__file__).resolve().parents[1] / "targets" / "tiny_llama" / "starter"


def members() -> dict[str, ModuleType]:
    """Every server that can be made from the starter, by name."""
    modules = {path.stem: importlib.import_module(f"servers.{path.stem}") for path in sorted(FOLDER.glob("*.py"))}
    return {name: module for name, module in modules.items() if hasattr(module, "make")}


def cheats() -> dict[str, ModuleType]:
    """The servers that must be refused."""
    return {name: module for name, module in members().items() if hasattr(module, "CHECK")}


def honest() -> dict[str, ModuleType]:
    """The servers that must be accepted."""
    return {name: module for name, module in members().items() if not hasattr(module, "CHECK")}


def begin_all(request: pytest.FixtureRequest, gates: Gates, *arguments: str) -> None:
    """Begin the gates of all servers whose tests were selected: one is judged while another is waited for."""
    for item in request.session.items:
        parameters = getattr(item, "callspec", None)
        if isinstance(item, pytest.Function) and item.module is request.module and parameters is not None:
            name = parameters.params["name"]
            module = members()[name]
            measured = str(getattr(module, "CHECK", "")).startswith("stream.")
            gates.begin(name, partial(module.make, STARTER), *arguments, alone=measured)
