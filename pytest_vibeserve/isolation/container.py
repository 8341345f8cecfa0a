"""One container from its start to its end, in a process of its own that tells what bwrap(1) would tell.

Started by a candidate's supervisor: standard output is the candidate's, and the status descriptor gets JSON lines with
`child-pid`, a `reason` where the engine ended it, and `exit-code`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import sys
import tarfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound, NotFound
from docker.types import LogConfig, Mount, Ulimit

from pytest_vibeserve.isolation.cgroup import SLACK
from pytest_vibeserve.isolation.confine import LARGEST_FILE, MOST_FILES, most_processes
from pytest_vibeserve.isolation.docker_engine import Container
from pytest_vibeserve.isolation.seccomp import docker_profile
from pytest_vibeserve.isolation.view import NOBODY, TEMPORARY

REPOSITORY = "vibeserve/empty"
LABEL = "vibeserve"
_FOLDERS = ("usr", "etc", "proc", "sys", "dev", "tmp", "var/tmp", "home/candidate", "candidate", "model")
# the first process waits for the second, so that orphans find a parent and the server does not have to be one
_FIRST = ("/bin/sh", "-c", 'unset HOSTNAME; "$@"; exit $?', "sh")
_ENGINE_S = 60


def run(wanted: Container, status: int) -> int:
    """Run to the end and return the command's exit status; docker.errors when the engine refuses."""
    client = docker.from_env(timeout=_ENGINE_S)
    image = _image(client, wanted.links)
    api = client.api
    made = api.create_container(
        image, [*_FIRST, *wanted.command], name=wanted.name, hostname="candidate", user=f"{NOBODY}:{NOBODY}",
        working_dir=wanted.folder, environment=wanted.environment, labels=[LABEL], host_config=_host(api, wanted),
    )["Id"]  # fmt: skip
    try:
        copying = threading.Thread(target=_copy, args=(api.attach(made, stream=True),))
        copying.start()
        api.start(made)
        if pid := api.inspect_container(made)["State"]["Pid"]:
            _tell(status, "child-pid", pid)
        code = int(api.wait(made, timeout=None)["StatusCode"])
        copying.join()
        if wanted.memory and api.inspect_container(made)["State"]["OOMKilled"]:
            limit = f"{wanted.memory / 2**30:.2f}"
            _tell(status, "reason", f"it held {limit} GiB of memory, the limit is {limit}")
        _tell(status, "exit-code", code)
    finally:
        remove(wanted.name)
    return code


def remove(name: str) -> None:
    """Kill and remove a container, if it is there."""
    with suppress(NotFound):
        docker.from_env(timeout=_ENGINE_S).api.remove_container(name, force=True, v=True)


def _host(api: Any, wanted: Container) -> Any:
    """Nothing of the host but what is bound, no network, no capability, and limits on everything that can be filled."""
    size = f",size={wanted.memory}" if wanted.memory else ""
    # an engine without CAP_SYS_RESOURCE cannot raise a limit above the machine's own
    files = min(MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    temporary = {place: f"rw,exec,nosuid,nodev,mode=1777{size}" for place in wanted.temporary}
    return api.create_host_config(
        network_mode="none",
        ipc_mode="private",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true", f"seccomp={docker_profile()}"],
        mounts=[Mount(bind.place, bind.source, type="bind", read_only=not bind.writable) for bind in wanted.binds],
        tmpfs={**temporary, **{place: "ro" for place in wanted.covered}},
        devices=[f"{device}:{device}:rw" for device in wanted.devices],
        mem_limit=int(wanted.memory * SLACK) or None,
        memswap_limit=int(wanted.memory * SLACK) or None,
        pids_limit=most_processes(),
        ulimits=[
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="nofile", soft=files, hard=files),
            Ulimit(name="fsize", soft=LARGEST_FILE, hard=LARGEST_FILE),
        ],
        oom_score_adj=1000,
        log_config=LogConfig(type="none"),
    )


def _image(client: Any, links: dict[str, str]) -> str:
    """An image of empty folders and links, made on first use: no registry is asked for anything."""
    data = _archive(links)
    tag = hashlib.sha256(data).hexdigest()[:16]
    try:
        client.images.get(f"{REPOSITORY}:{tag}")
    except ImageNotFound:
        client.api.import_image_from_data(data, repository=REPOSITORY, tag=tag)
    return f"{REPOSITORY}:{tag}"


def _archive(links: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in _FOLDERS:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if f"/{name}" in TEMPORARY else 0o755
            archive.addfile(folder)
        for place, leads_to in sorted(links.items()):
            link = tarfile.TarInfo(place.lstrip("/"))
            link.type, link.linkname = tarfile.SYMTYPE, leads_to
            archive.addfile(link)
    return target.getvalue()


def _copy(stream: Iterable[bytes]) -> None:
    for data in stream:
        while data:
            data = data[os.write(1, data) :]


def _tell(status: int, name: str, value: int | str) -> None:
    os.write(status, json.dumps({name: value}).encode() + b"\n")


def main() -> None:
    """`run TEXT STATUS_FD` or `remove NAME`, behind the folder that this package lies in."""
    action, *rest = sys.argv[2:]
    try:
        if action == "run":
            sys.exit(run(Container.from_text(rest[0]), int(rest[1])))
        remove(rest[0])
    except DockerException as error:
        sys.exit(f"the container engine refused: {error}")
