"""Brings the plugin into a bare checkout; where it is installed, pytest has loaded it already."""

from importlib.metadata import entry_points

PLUGIN = "pytest_vibeserve.plugin"

if not any(entry.value == PLUGIN for entry in entry_points(group="pytest11")):
    # Defined only here: pytest refuses the mere name in a conftest below the folder that it was started in.
    pytest_plugins = [PLUGIN]
