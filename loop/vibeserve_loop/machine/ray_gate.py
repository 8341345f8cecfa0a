"""A gate on whichever node of a Ray cluster is free, in place of one on this machine; started as a script, by path.

    ray_gate.py --address A [--cpus N] [--gpus N] [--limit S] [--queue S] -- LAUNCHER WORD... OPTION...

Folders that the options name travel to the node, the report and the server's log travel back; what the gate says and
how it ends are passed on.  Ray lends the node's cores or GPUs to one gate at a time: `--queue` bounds the wait for
them, and the gate's own `--limit` begins on the node.  Needs `ray` on both sides, and the plugin on the node.
"""

from __future__ import annotations

import argparse
import io
import itertools
import logging
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

SENT = ("-c", "--rootdir", "--confcutdir", "--vibeserve-target", "--vibeserve-candidate", "--vibeserve-baseline")
BROUGHT = ("--vibeserve-report", "--vibeserve-server-log")
KEPT = (
    "PATH", "HOME", "TMPDIR", "VIBESERVE_CACHE", "XDG_CACHE_HOME", "DOCKER_HOST", "VIBESERVE_REFERENCE_DEVICE",
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "LC_ALL",
)  # fmt: skip
KEPT_FROM = ("VIBESERVE_DATA_", "HF_")
"""What a gate on this machine is given too; the values are the node's own."""
START_S = 120.0
"""What a worker's start and the way there and back may take beside the gate."""
CLEARING_S = 20.0
TOO_LONG = 124
INFRASTRUCTURE = 3
KNOCK_S = 10.0
LAUNCH = ("-I", "-S", "-B")
BETWEEN = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


def main(words: list[str]) -> int:
    """Carry one gate to a node and back; its exit status, or that of a failure that says nothing of the candidate."""
    split = words.index("--")
    asked, command = _options(words[:split]), words[split + 1 :]
    import ray

    try:
        _knocked(asked.address)
        ray.init(address=asked.address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        return _failed(f"no Ray cluster answers at {asked.address}: {error}")
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call,unused-ignore]
    offered = [node["Resources"].get("CPU", 0) for node in nodes if node["Alive"]]
    cpus = asked.cpus or min((count for count in offered if count > 0), default=0)
    if cpus <= 0:
        return _failed(f"no node of the Ray cluster at {asked.address} offers a core: start nodes with --num-cpus=N")
    try:
        code, said, files = _carried(command, cpus, asked)
    except ray.exceptions.RayError as error:
        return _failed(f"the Ray cluster failed: {error}")
    except TimeoutError as error:
        return _failed(str(error))
    sys.stdout.buffer.write(said)
    for option, data in files.items():
        Path(command[command.index(option) + 1]).write_bytes(data)
    return int(code)


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="auto")
    for name, value in (("cpus", 0.0), ("gpus", 0.0), ("limit", 3600.0), ("queue", 3600.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    return parser.parse_args(words)


def _failed(why: str) -> int:
    print(f"ERROR: {why}", file=sys.stderr)
    return INFRASTRUCTURE


def _carried(command: list[str], cpus: float, asked: argparse.Namespace) -> Any:
    """What the gate gave on a node that was lent to it; TimeoutError when none is free in time, or none answers."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    lent: Any = placement_group([{"CPU": cpus, **({"GPU": asked.gpus} if asked.gpus else {})}])
    try:
        if not lent.wait(timeout_seconds=asked.queue):
            what = f"{cpus:g} cores" + (f" and {asked.gpus:g} GPUs" if asked.gpus else "")
            raise TimeoutError(f"no node of the Ray cluster had {what} free within {asked.queue:.0f} s")
        where = PlacementGroupSchedulingStrategy(lent)
        remote: Any = ray.remote(
            num_cpus=cpus, num_gpus=asked.gpus, max_retries=0, max_calls=1, scheduling_strategy=where
        )(judged)  # fmt: skip
        tether = Path(__file__).with_name("tether.py").read_text(encoding="utf-8")
        task = remote.remote(command, _sent(command), (tether, sys.executable), asked.limit)
        try:
            return ray.get(task, timeout=asked.limit + START_S)
        except ray.exceptions.GetTimeoutError:
            raise TimeoutError(f"the node did not answer within {asked.limit + START_S:.0f} s") from None
        finally:
            ray.cancel(task, force=True)
    finally:
        remove_placement_group(lent)


def _knocked(address: str) -> None:
    """OSError where nothing listens: Ray itself would try for a minute."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), KNOCK_S).close()


def _sent(command: list[str]) -> dict[str, bytes]:
    """An archive for each file or folder that the options name, once each."""
    found: dict[str, bytes] = {}
    for option, value in itertools.pairwise(command):
        if option in SENT and value not in found:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
                archive.add(value, arcname=Path(value).name, filter=_plain)
            found[value] = buffer.getvalue()
    return found


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(entry.name).name in ("__pycache__", ".git") else entry


def judged(
    command: list[str], sent: dict[str, bytes], ours: tuple[str, str], limit_s: float
) -> tuple[int, bytes, dict[str, bytes]]:
    """On the node: unpack, run the gate so that it ends with this process, and give back what it wrote.

    `ours` are the tether's source, and the interpreter that the command names there.
    """
    import ray

    tether, python = ours
    with tempfile.TemporaryDirectory(prefix="vibeserve-ray-") as scratch:
        top = Path(scratch)
        (top / "tether.py").write_text(tether, encoding="utf-8")
        places = {}
        for number, (path, data) in enumerate(sent.items()):
            into = top / str(number)
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
                archive.extractall(into, filter="data")
            places[path] = str(into / Path(path).name)
        places |= {command[command.index(o) + 1]: str(top / o.lstrip("-")) for o in BROUGHT if o in command}
        words = [sys.executable if word == python else places.get(word, word) for word in command]
        with (top / "said").open("w+b") as said:
            said.write(f"on node {ray.get_runtime_context().get_node_id()}\n".encode())
            said.flush()
            code = _run([sys.executable, *LAUNCH, str(top / "tether.py"), *words], top, said, limit_s)
        files = {o: Path(top, o.lstrip("-")) for o in BROUGHT}
        brought = {option: path.read_bytes() for option, path in files.items() if path.is_file()}
        return code, (top / "said").read_bytes(), brought


def _run(words: list[str], folder: Path, said: IO[bytes], limit_s: float) -> int:
    """Run a tethered command to its end, or past the limit to the end of what it leaves; its exit status.

    A worker that Ray ends kills its own children before: the tether is no child of it, and sees its lifeline end.
    """
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_FROM)}
    process = subprocess.Popen(
        [sys.executable, *LAUNCH, "-c", BETWEEN, *words], cwd=folder, stdin=subprocess.PIPE, stdout=said, stderr=said,
        start_new_session=True, env={**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert process.stdin is not None
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.stdin.close()
        process.wait(CLEARING_S)
        said.seek(0, os.SEEK_END)
        said.write(f"\nERROR: the gate took longer than {limit_s:.0f} s on its node and was stopped\n".encode())
        return TOO_LONG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
