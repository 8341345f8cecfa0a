"""Rates are measured once for a size, and are those of something."""

from __future__ import annotations

from pytest_vibeserve.machine_rates import LARGEST_BUFFER, machine


def test_this_machine_reads_and_multiplies() -> None:
    found = machine()
    assert found.bytes_per_s > 1e8
    assert found.operations_per_s > 1e8


def test_sizes_of_one_power_of_two_are_measured_together_and_never_beyond_the_largest() -> None:
    assert machine("cpu", 70_000) is machine("cpu", 120_000)
    assert machine("cpu", 2 * LARGEST_BUFFER) is machine("cpu")
