from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.machine.devices import Device, Devices, devices_named, usable_cores
from vibeserve_loop.machine.processes import Place, run_tethered

UUID = "GPU-0f1e2d3c-0000-1111-2222-333344445555"
FIRST = min(usable_cores())


def test_cores_and_gpus_are_named_as_people_write_them() -> None:
    found = devices_named((str(FIRST), UUID), "cpu")
    assert found == (Device(cores=(FIRST,)), Device(gpus=(UUID,)))
    assert devices_named((), "cpu") == (Device(cores=tuple(sorted(usable_cores()))),)


@pytest.mark.parametrize("word", ["4096", "one", "0-", f"{FIRST},GPU-0f"])
def test_what_is_no_device_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--device"):
        devices_named((word,), "cpu")


def test_a_part_belongs_to_one_device() -> None:
    with pytest.raises(UsageError, match="two gates would share it"):
        devices_named((str(FIRST), f"{FIRST}"), "cpu")


def test_a_device_is_lent_to_one_at_a_time(tmp_path: Path) -> None:
    devices = Devices([Device(gpus=("a",)), Device(gpus=("b",))], tmp_path)
    most, held, lock = 0, [], threading.Lock()

    def use() -> None:
        nonlocal most
        for _ in range(20):
            with devices.lease() as device:
                with lock:
                    assert device not in held
                    held.append(device)
                    most = max(most, len(held))
                with lock:
                    held.remove(device)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 2


def test_a_device_is_lent_once_on_the_whole_machine_and_comes_back_when_its_holder_is_killed(tmp_path: Path) -> None:
    words = f"""
import sys, time
sys.path[:0] = {[path for path in sys.path if path]!r}
from pathlib import Path
from vibeserve_loop.machine.devices import Device, Devices
with Devices([Device(cores=(0, 1))], Path({str(tmp_path)!r})).lease():
    print("held", flush=True)
    time.sleep(300)
"""
    taken = threading.Event()

    def take() -> None:
        with Devices([Device(cores=(1, 2))], tmp_path).lease():
            taken.set()

    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        waiting = threading.Thread(target=take, daemon=True)
        waiting.start()
        assert not taken.wait(0.5)
        process.kill()
    assert taken.wait(20)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes to cores")
def test_a_command_keeps_to_its_cores(tmp_path: Path) -> None:
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    place = Place(tmp_path, {}, 30.0, cores=(FIRST,))
    assert run_tethered([sys.executable, "-c", code], place).output == f"[{FIRST}]\n"
