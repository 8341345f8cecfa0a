"""A gate on whichever node of a Ray cluster is free, in place of one on this machine; started as a script, by path.

    ray_gate.py --address A [--cpus N] [--gpus N] -- LAUNCHER WORD... OPTION...

Folders that the options name travel to the node, the report and the server's log travel back; what the gate says and
how it ends are passed on.  Ray lends the node's cores or GPUs to one gate at a time.  Needs `ray` on both sides, and
the plugin on the node.
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
from typing import Any

SENT = ("-c", "--rootdir", "--confcutdir", "--vibeserve-target", "--vibeserve-candidate", "--vibeserve-baseline")
BROUGHT = ("--vibeserve-report", "--vibeserve-server-log")
KEPT = ("PATH", "HOME", "VIBESERVE_CACHE", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "LC_ALL")
INFRASTRUCTURE = 3
KNOCK_S = 10.0
LAUNCH = ("-I", "-S", "-B")


def main(words: list[str]) -> int:
    """Carry one gate to a node and back; its exit status, or that of a failure that says nothing of the candidate."""
    split = words.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="auto")
    parser.add_argument("--cpus", type=float, default=0)
    parser.add_argument("--gpus", type=float, default=0)
    asked, command = parser.parse_args(words[:split]), words[split + 1 :]
    import ray

    try:
        _knocked(asked.address)
        ray.init(address=asked.address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"ERROR: no Ray cluster answers at {asked.address}: {error}", file=sys.stderr)
        return INFRASTRUCTURE
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call,unused-ignore]
    cpus = asked.cpus or min(node["Resources"].get("CPU", 0) for node in nodes if node["Alive"])
    remote: Any = ray.remote(num_cpus=cpus, num_gpus=asked.gpus, max_retries=0, max_calls=1)(judged)
    tether = Path(__file__).with_name("tether.py").read_text(encoding="utf-8")
    task = remote.remote(command, _sent(command), tether, sys.executable)
    try:
        code, said, files = ray.get(task)
    except ray.exceptions.RayError as error:
        print(f"ERROR: the Ray cluster failed: {error}", file=sys.stderr)
        return INFRASTRUCTURE
    finally:
        ray.cancel(task, force=True)
    sys.stdout.buffer.write(said)
    for option, data in files.items():
        Path(command[command.index(option) + 1]).write_bytes(data)
    return int(code)


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


def judged(command: list[str], sent: dict[str, bytes], tether: str, python: str) -> tuple[int, bytes, dict[str, bytes]]:
    """On the node: unpack, run the gate so that it ends with this process, and give back what it wrote."""
    import ray

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
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        with (top / "said").open("w+b") as said:
            said.write(f"on node {ray.get_runtime_context().get_node_id()}\n".encode())
            said.flush()
            process = subprocess.Popen(
                [sys.executable, *LAUNCH, str(top / "tether.py"), *words], cwd=top, stdin=subprocess.PIPE,
                stdout=said, stderr=said, env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            )  # fmt: skip
            code = process.wait()
        files = {o: Path(top, o.lstrip("-")) for o in BROUGHT}
        brought = {option: path.read_bytes() for option, path in files.items() if path.is_file()}
        return code, (top / "said").read_bytes(), brought


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
