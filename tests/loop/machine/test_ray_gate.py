from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from loop_lab import Lab, faster

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.machine.executors import launcher

HERE = ("python", "-m", "pytest")
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20})
cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_without_an_executor_the_gate_starts_as_it_is() -> None:
    assert launcher("", HERE, "cpu") == HERE


@pytest.mark.parametrize(("words", "told"), [("rey", "ray"), ("ray nodes=2", "no option"), ("ray cpus=some", "cpus")])
def test_what_no_executor_knows_is_said(words: str, told: str) -> None:
    if find_spec("ray") is None and words.startswith("ray"):
        pytest.skip("the extra `ray` is not installed")
    with pytest.raises(UsageError, match=told):
        launcher(words, HERE, "cpu")


def test_a_cuda_target_asks_for_a_gpu() -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    words = launcher("ray address=10.0.0.1:6379", HERE, "cuda")
    assert words[words.index("--address") + 1] == "10.0.0.1:6379"
    assert words[words.index("--gpus") + 1] == "1"
    assert words[-3:] == HERE


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    words = [sys.executable, "-W", "ignore", "-c", CLUSTER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = ""
        while ":" not in address or " " in address.strip():
            address = process.stdout.readline()
            assert address, "the cluster did not start"
        yield address.strip()
        process.stdin.close()
        process.wait(60)


@pytest.mark.slow
def test_gates_run_on_both_nodes_of_a_cluster_and_the_record_is_as_at_home(lab: Lab, cluster: str) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.skill("kernels", faster(2), relieves="step-overhead")
    lab.skill("hasty", faster(9) + '(folder / "wrong").write_text("")\n', relieves="step-overhead serial-service")
    (lab.target / "slow").write_text("1.5")
    process = lab.start(
        "run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7", "--workers", "3", "--max-rounds", "4",
        "--executor", f"ray address={cluster} cpus=1",
    )  # fmt: skip
    _, errors = process.communicate(timeout=240)
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
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 3
    assert "no Ray cluster answers" in errors
    assert json.loads((lab.latest / "rounds.jsonl").read_text())["decision"]["ruling"] == "void"


@pytest.mark.slow
def test_a_gate_ends_with_the_loop_that_asked_for_it(lab: Lab, cluster: str) -> None:
    (lab.target / "slow").write_text("300")
    words = ("--sandbox", "none", "--executor", f"ray address={cluster} cpus=1")
    process = lab.start("run", "lab", *lab.gate, *words)
    until = time.monotonic() + 60
    while not _gates() and time.monotonic() < until:
        time.sleep(0.2)
    assert _gates()
    process.kill()
    process.communicate()
    while _gates() and time.monotonic() < until + 60:
        time.sleep(0.2)
    assert _gates() == []


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
