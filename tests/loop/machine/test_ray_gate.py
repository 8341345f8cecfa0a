from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from loop_lab import Lab, faster

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.machine.executors import SCRIPT, launcher

HERE = ("python", "-m", "pytest")
CLUSTER = """
import os, sys
os.environ["VIBESERVE_DATA_LAB"] = "/data/lab"
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 * 2**20})
for _ in range(2):
    cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_without_an_executor_the_gate_starts_as_it_is() -> None:
    assert launcher("", HERE, "cpu", 60) == HERE


@pytest.mark.parametrize(
    ("words", "told"),
    [("rey", "ray"), ("ray nodes=2", "no option"), ("ray cpus=some", "cpus"), ("ray queue=0", "queue")],
)
def test_what_no_executor_knows_is_said(words: str, told: str) -> None:
    if find_spec("ray") is None and words.startswith("ray"):
        pytest.skip("the extra `ray` is not installed")
    with pytest.raises(UsageError, match=told):
        launcher(words, HERE, "cpu", 60)


def test_a_cuda_target_asks_for_a_gpu() -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    words = launcher("ray address=10.0.0.1:6379", HERE, "cuda", 60)
    assert words[words.index("--address") + 1] == "10.0.0.1:6379"
    assert words[words.index("--gpus") + 1] == "1"
    assert words[-3:] == HERE


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    words = [sys.executable, "-W", "ignore", "-c", CLUSTER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield _address(process)
        finally:
            process.stdin.close()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[bytes]) -> str:
    """The line with an address in it, for as long as a start may take on a busy machine."""
    assert process.stdout is not None
    said, until = b"", time.monotonic() + 150
    while time.monotonic() < until:
        if select.select([process.stdout], [], [], 1.0)[0]:
            part = os.read(process.stdout.fileno(), 4096)
            said += part
            found = [line for line in said.decode().splitlines(keepends=True) if line.endswith("\n")]
            words = [line.strip() for line in found if re.fullmatch(r"[\w.]+:\d+", line.strip())]
            if words:
                return words[0]
            assert part, f"the cluster ended: {said!r}"
    raise AssertionError(f"the cluster did not start: {said!r}")


@pytest.mark.slow
def test_gates_run_on_both_nodes_of_a_cluster_and_the_record_is_as_at_home(lab: Lab, cluster: str) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.skill("kernels", faster(2), relieves="step-overhead")
    lab.skill("hasty", faster(9) + '(folder / "wrong").write_text("")\n', relieves="step-overhead serial-service")
    (lab.target / "slow").write_text("1.5")
    process = lab.start(
        "run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7", "--workers", "3", "--max-rounds", "4",
        "--executor", f"ray address={cluster}",
    )  # fmt: skip
    try:
        _, errors = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    logs = [path.read_text() for path in lab.latest.glob("rounds/*/gate.log")]
    nodes = {line.split()[-1] for log in logs for line in log.splitlines() if line.startswith("on node ")}
    assert len(nodes) == 2
    there = [(r["task"]["kind"], r["tree"], r["decision"]["ruling"]) for r in lab.rounds()]
    (lab.target / "slow").write_text("0")
    assert lab.run("--workers", "3", "--max-rounds", "4", "--device", "0").returncode == 0
    assert [(r["task"]["kind"], r["tree"], r["decision"]["ruling"]) for r in lab.rounds()] == there


@pytest.mark.slow
def test_a_cluster_that_is_not_there_says_nothing_of_the_candidate(lab: Lab) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    words = ("--sandbox", "none", "--executor", "ray address=127.0.0.1:1")
    process = lab.start("run", "lab", *lab.gate, *words)
    try:
        _, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 3
    assert "no Ray cluster answers" in errors
    assert json.loads((lab.latest / "rounds.jsonl").read_text())["decision"]["ruling"] == "void"


@pytest.mark.slow
def test_a_gate_ends_with_the_loop_that_asked_for_it(lab: Lab, cluster: str) -> None:
    (lab.target / "slow").write_text("300")
    words = ("--sandbox", "none", "--executor", f"ray address={cluster} cpus=1")
    process = lab.start("run", "lab", *lab.gate, *words)
    try:
        until = time.monotonic() + 90
        while not _gates() and time.monotonic() < until:
            time.sleep(0.2)
        assert _gates()
    finally:
        process.kill()
        process.communicate()
    until = time.monotonic() + 60
    while _gates() and time.monotonic() < until:
        time.sleep(0.2)
    assert _gates() == []


@pytest.mark.slow
def test_the_wait_for_a_node_is_bounded_by_itself_and_the_gates_limit_begins_on_the_node(
    lab: Lab, cluster: str
) -> None:
    (lab.target / "slow").write_text("300")
    blocked = _carried(lab, "--cpus", "7", "--queue", "3", "--limit", "600", cluster=cluster)
    assert blocked.returncode == 3
    assert "no node of the Ray cluster had 7 cores free within 3 s" in blocked.stderr
    long = _carried(lab, "--cpus", "1", "--queue", "60", "--limit", "2", cluster=cluster)
    assert long.returncode == 124
    assert "the gate took longer than 2 s on its node and was stopped" in long.stdout
    assert _gates() == []


@pytest.mark.slow
def test_a_nodes_own_data_sets_reach_the_gate(lab: Lab, cluster: str) -> None:
    script = lab.folder / "told.py"
    script.write_text("import os; print(os.environ['VIBESERVE_DATA_LAB'])")
    command = [sys.executable, str(SCRIPT), "--address", cluster, "--", sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "/data/lab"


def _carried(lab: Lab, *words: str, cluster: str) -> subprocess.CompletedProcess[str]:
    """One gate on the lab's starter, without a loop."""
    options = ("--vibeserve-target", str(lab.target), "--vibeserve-candidate", str(lab.target / "starter"))
    command = [sys.executable, str(SCRIPT), "--address", cluster, *words, "--", *lab.gate[1].split(), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def _gates() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "vibeserve-ray-" in words and "fake_gate" in words:
            found.append(words)
    return found
