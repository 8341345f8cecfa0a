"""What is drawn on the laptop is what is drawn by show_o2_h100, from the same list of prompts where one is given."""

from pytest_vibeserve.library import find, imported

shaped = imported(find("targets", "show_o2_h100", "target.toml") / "workload.py").shaped
