"""Keeping a candidate away from the gate, the network and every other process, as far as the machine allows."""

from pytest_vibeserve.isolation.levels import Probe, isolation_label, probe
from pytest_vibeserve.isolation.network import enter_network

__all__ = ["Probe", "enter_network", "isolation_label", "probe"]
