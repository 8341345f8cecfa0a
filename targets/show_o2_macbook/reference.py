"""The reference of show_o2_macbook is that of show_o2_h100: the same model on other hardware."""

from __future__ import annotations

import importlib.util
import sys

from pytest_vibeserve.library import find

OTHER = find("targets", "show_o2_h100", "target.toml") / "reference.py"
_spec = importlib.util.spec_from_file_location("vibeserve_reference_of_show_o2", OTHER)
assert _spec is not None
assert _spec.loader is not None
_module = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

load, attend, generate = _module.load, _module.attend, _module.generate
build, fetch = _module.build, _module.fetch
