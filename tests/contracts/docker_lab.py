"""A container engine for tests: the machine's, or one of their own where they may start it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

START_S = 30.0


@contextlib.contextmanager
def engine() -> Iterator[str]:
    """The address of an engine, or "" where none can be had; one that was started here is gone afterwards."""
    if shutil.which("docker") is None:
        yield ""
    elif _answers(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")):
        yield os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    elif shutil.which("dockerd") is None or os.getuid() != 0:
        yield ""
    else:
        with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as place:
            yield from _started(Path(place))


def _started(place: Path) -> Iterator[str]:
    address = f"unix://{place}/docker.sock"
    words = ["--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "-p", f"{place}/pid", "-H", address]
    # No bridge and no rule of a firewall: containers have no network, and nothing of the machine's is changed.
    words += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
    with (place / "log").open("wb") as log, subprocess.Popen(["dockerd", *words], stdout=log, stderr=log) as process:
        until = time.monotonic() + START_S
        while process.poll() is None and not _answers(address) and time.monotonic() < until:
            time.sleep(0.1)
        try:
            yield address if _answers(address) else ""
        finally:
            process.terminate()


def _answers(address: str) -> bool:
    words = ["docker", "--host", address, "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(words, capture_output=True, check=False, timeout=START_S).returncode == 0
