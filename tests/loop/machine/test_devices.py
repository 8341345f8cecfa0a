from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from loop_lab import Lab

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


@pytest.mark.skipif(sys.platform != "linux", reason="needs a program called nvidia-smi that is a script")
@pytest.mark.parametrize(("wanted", "seen"), [(None, ["aa", "bb"]), ("1", ["bb"]), ("GPU-a", ["aa"]), ("7", [])])
def test_the_users_choice_of_gpus_holds(
    wanted: str | None, seen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho 'GPU 0: X (UUID: GPU-aa)'\necho 'GPU 1: X (UUID: GPU-bb)'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if wanted is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    found = [gpu for device in devices_named((), "cuda") for gpu in device.gpus]
    assert found == [f"GPU-{name}" for name in seen]


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


ANOTHER_USER = """
import os, sys
sys.path[:0] = {paths!r}
from pathlib import Path
from vibeserve_loop.machine.devices import Device, Devices
if os.geteuid() == 0:
    os.setuid(65534)
with Devices([Device(gpus=("a", "b"))], Path({locks!r})).lease():
    print("lent")
"""


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_second_user_of_the_machine_is_lent_what_another_used(umask: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        Path(top).chmod(0o755)
        locks = Path(top, "devices")
        before = os.umask(umask)
        try:
            with Devices([Device(gpus=("a",))], locks).lease():
                pass
        finally:
            os.umask(before)
        if os.geteuid() != 0:
            (locks / "a").chmod(0o444)
        code = ANOTHER_USER.format(paths=[path for path in sys.path if path], locks=str(locks))
        done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("lent\n", "")
        with Devices([Device(gpus=("a", "b"))], locks).lease() as device:
            assert device is not None


def test_two_runs_of_one_worker_do_not_measure_together(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(lab.folder.parents[1]))
    (lab.target / "slow").write_text("1")
    words = ("run", "lab", *lab.gate, "--sandbox", "none", "--max-rounds", "0")
    held = Devices([Device(cores=(FIRST,))], Path(lab.folder.parents[1], "vibeserve-devices"))
    with held.lease():
        process = lab.start(*words)
        while not list(lab.folder.glob("runs/*/rounds/0000")) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(1.0)
        assert not list(lab.folder.glob("runs/*/rounds/0000/gate.log"))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert list(lab.folder.glob("runs/*/rounds/0000/gate.log"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes to cores")
def test_a_command_keeps_to_its_cores(tmp_path: Path) -> None:
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    place = Place(tmp_path, {}, 30.0, cores=(FIRST,))
    assert run_tethered([sys.executable, "-c", code], place).output == f"[{FIRST}]\n"
