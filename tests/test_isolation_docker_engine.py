"""The container of a candidate: what is put into it, and that it goes with its gate."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from insides import new_view, require_backend
from places import eventually

from pytest_vibeserve.isolation.docker_engine import Container, command_line, engine_address
from pytest_vibeserve.isolation.interpreter import offered
from pytest_vibeserve.isolation.levels import DOCKER, errand
from pytest_vibeserve.isolation.processes import table
from pytest_vibeserve.isolation.supervised import Supervised
from pytest_vibeserve.isolation.view import View


@pytest.fixture
def view(tmp_path: Path) -> View:
    return new_view(tmp_path)


def described(view: View) -> Container:
    return Container.from_text(command_line(view, ("python", "server.py")).run[-2])


def containers() -> list[str]:
    """The names of the candidates' containers that the engine has."""
    docker = pytest.importorskip("docker")
    with_label = docker.from_env().api.containers(all=True, filters={"label": "vibeserve"})
    return [name.lstrip("/") for one in with_label for name in one["Names"]]


def test_a_container_travels_as_text(view: View) -> None:
    wanted = described(replace(view, memory=7))
    assert Container.from_text(wanted.to_text()) == wanted


def test_only_code_model_system_and_interpreter_are_bound(view: View) -> None:
    assert view.model is not None
    sources = {bind.source for bind in described(view).binds}
    private = {str(view.code), str(view.model), *(str(tree) for tree in offered().trees)}
    assert private <= sources
    system = ("/usr", "/bin", "/sbin", "/lib", "/etc/ld.so.cache", "/etc/alternatives", str(view.private))
    assert [source for source in sources - private if not source.startswith(system)] == []


def test_nothing_is_writable_but_the_code_of_a_build(view: View) -> None:
    assert [bind for bind in described(view).binds if bind.writable] == []
    building = described(replace(view, model=None, writable=True))
    assert [bind.place for bind in building.binds if bind.writable] == ["/candidate"]
    assert "/model" not in {bind.place for bind in building.binds}


def test_the_gates_environment_is_passed_on_to_nobody(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    monkeypatch.setenv("DOCKER_HOST", "unix:///engine.sock")
    asked = errand(DOCKER, view, ("python",), view.private / "log")
    assert "DOCKER_HOST=unix:///engine.sock" in engine_address()
    assert {pair.split("=")[0] for pair in asked.environment} <= {
        "DOCKER_HOST",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
    }
    assert "hush" not in " ".join(asked.argv)


def test_a_container_goes_even_when_what_watched_it_was_killed(view: View) -> None:
    require_backend("docker")
    (view.code / "program.py").write_text("import time; time.sleep(600)")
    with Supervised(errand(DOCKER, view, (sys.executable, "program.py"), view.private / "log")) as run:
        name = run.errand.afterwards[-1]
        assert run.wait_for({"started"}, 60) is not None
        assert name in containers()
        runners = [pid for pid in table() if name in _words(pid) and "run" in _words(pid)]
        assert runners
        for pid in runners:
            os.kill(pid, signal.SIGKILL)
        assert run.wait_for({"ended", "broken"}, 60) is not None
        assert run.let_go(keep=True) == ()
    assert eventually(lambda: name not in containers())


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
