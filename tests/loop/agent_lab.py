"""A desk for one agent's session, with a loopback model endpoint: started as a program, it prints what came of it.

`python agent_lab.py FOLDER`: FOLDER holds the lab's target and `case.json`: agent, options, script,
environment, sandbox, brokered, attempts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from loop_lab import GATE

from pytest_vibeserve.errors import VibeserveError
from pytest_vibeserve.target import load_target
from vibeserve_loop import resolve
from vibeserve_loop.assess import Gate
from vibeserve_loop.broker.broker import Broker
from vibeserve_loop.desk.attendance import attended
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.planning.issues import Issues
from vibeserve_loop.records import Assessment, Decision, Round, Task
from vibeserve_loop.roles import Brief, Desk

ENDPOINT = Path(__file__).with_name("model_endpoint.py")


def main(folder: Path) -> None:
    case = json.loads((folder / "case.json").read_text())
    (folder / "script.json").write_text(json.dumps(case["script"]))
    command = [sys.executable, str(ENDPOINT), str(folder / "script.json"), str(folder / "requests.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as endpoint:
        assert endpoint.stdout is not None
        port = int(endpoint.stdout.readline())
        os.environ.update(case["environment"])
        filled = {"{url}": f"http://127.0.0.1:{port}", "{port}": str(port)}
        options = [(name, _filled(value, filled)) for name, value in case["options"].items()]
        print(json.dumps(_session(folder, case, options)))
        assert endpoint.stdin is not None
        endpoint.stdin.close()


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _session(folder: Path, case: dict, options: list[tuple[str, str]]) -> dict:
    workspace = folder / "run" / "workspace"
    shutil.copytree(folder / "targets" / "lab" / "starter", workspace)
    identity = ("-c", "user.name=lab", "-c", "user.email=lab@lab.invalid")
    for words in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "starter")):
        git(workspace, *words)
    lines: list[str] = []
    desk = Desk(
        workspace, resolve.sandbox(case.get("sandbox", "none")),
        restore=lambda: restored(workspace), log=lines.append,
    )  # fmt: skip
    try:
        with brokered(folder, workspace) if case["brokered"] else contextlib.nullcontext():
            agent = resolve.agent(case["agent"], options)
            for attempt in range(1, case["attempts"] + 1):
                result = attended(agent, brief(folder, attempt), desk)
        told = json.loads(result.model_dump_json())
    except VibeserveError as error:
        told = {"error": type(error).__name__, "message": str(error)}
    changes, speed = git(workspace, "status", "--porcelain"), (workspace / "speed").read_text()
    return {**told, "log": lines, "changes": changes, "speed": speed}


@contextlib.contextmanager
def brokered(folder: Path, workspace: Path) -> Iterator[None]:
    target = load_target(str(folder / "targets" / "lab"))
    gate = Gate(target, folder / "run", (sys.executable, "-I", "-S", "-B", str(GATE)))
    broker = Broker(gate, folder / "run" / "broker", Issues(RunFolder(folder / "run")))
    with broker.serving(), broker.visit(workspace, target.folder / "starter"):
        yield


def restored(workspace: Path) -> None:
    git(workspace, "reset", "--hard", "-q")
    git(workspace, "clean", "-ffdxq")


def git(workspace: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=workspace, check=True, capture_output=True, text=True).stdout


def brief(folder: Path, attempt: int = 1) -> Brief:
    target = load_target(str(folder / "targets" / "lab"))
    found = Assessment(outcome="accepted", reason="every check passed")
    starter = Round(
        round=0, task=Task(kind="starter"), commit="c", tree="t", assessment=found,
        decision=Decision(ruling="accept", reason="every check passed"), started=0, wall_s=1,
    )  # fmt: skip
    task = Task(kind="work", hypothesis="make it faster", attempt=attempt)
    return Brief(number=1, task=task, rounds=(starter,), target=target, seed=7, text="Your task: make it faster.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
