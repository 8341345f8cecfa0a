"""The looks between blocks: what the system says is read, and what it does not say is no number."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_vibeserve.machine_state import (
    MachineState,
    busy_s,
    canary_drift,
    clock_mhz,
    foreign_share,
    observe,
    pressure_share,
    waited_s,
)


def state(canary_s: float, at_s: float = 0.0, waited: float | None = None) -> MachineState:
    return MachineState(at_s, canary_s, waited, None)


def test_a_look_at_this_machine_has_a_canary_and_a_time() -> None:
    first, second = observe(), observe()
    assert 0 < first.canary_s < 10
    assert second.at_s > first.at_s


def test_a_canary_that_moved_is_measured_against_the_median() -> None:
    assert canary_drift([state(1.0), state(1.0), state(1.2)]) == pytest.approx(0.2)
    assert canary_drift([state(1.0), state(0.9), state(1.0)]) == pytest.approx(0.1)
    assert canary_drift([]) == 0.0


def test_pressure_is_the_share_of_the_time_in_which_somebody_waited(tmp_path: Path) -> None:
    file = tmp_path / "cpu"
    file.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 total=7\n")
    assert waited_s(file) == 2.5
    assert waited_s(tmp_path / "absent") is None
    assert pressure_share([state(1, 10.0, 2.5), state(1, 14.0, 3.5)]) == pytest.approx(0.25)
    assert pressure_share([state(1, 10.0), state(1, 14.0)]) is None


def test_the_clock_is_the_slowest_cores(tmp_path: Path) -> None:
    for core, clock in enumerate((3000000, 2100000)):
        folder = tmp_path / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{clock}\n")
    assert clock_mhz(tmp_path) == 2100
    (tmp_path / "cpuinfo").write_text("cpu MHz\t\t: 2596.1\ncpu MHz\t\t: 2595.0\n")
    assert clock_mhz(tmp_path / "absent", tmp_path / "cpuinfo") == 2595
    assert clock_mhz(tmp_path / "absent", tmp_path / "absent") is None


def test_what_others_took_is_what_was_busy_without_being_our_own(tmp_path: Path) -> None:
    file = tmp_path / "stat"
    file.write_text("cpu  100 20 30 9000 50 1 2 47 5 5\ncpu0 1 1 1 1\n")
    assert busy_s(file) == pytest.approx((100 + 20 + 30 + 1 + 2 + 47) / 100)
    assert busy_s(tmp_path / "absent") is None
    cores = foreign_share(1.0, 0.0, 1.0) ** -1
    assert foreign_share(4.0, 3.0, 2.0) == pytest.approx(1 / (2 * cores))
    assert foreign_share(1.0, 1.5, 1.0) == 0.0
    assert foreign_share(None, 1.0, 1.0) == foreign_share(1.0, None, 1.0) == 0.0
