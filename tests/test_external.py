"""Servers that run already."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import eventually

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.isolation.levels import UNISOLATED
from pytest_vibeserve.server import ExternalServer, free_port


def test_a_server_that_runs_already_has_the_same_interface(tmp_path: Path) -> None:
    (tmp_path / "health").write_text("ok")
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port), "--directory", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        external = ExternalServer(f"http://127.0.0.1:{port}/")
        assert eventually(external.alive)
        with external as server:
            assert (server.isolation, server.netns_pid, server.cpu_seconds()) == (UNISOLATED, None, None)
            with pytest.raises(UsageError, match="cannot be paused"):
                server.pause()
            assert server.stop() == ()
        assert external.alive()
        process.kill()
    assert not external.alive()


@pytest.mark.parametrize("url", ["localhost:8000", "https://a:1", "http://a:1/v1", "http://a:x", "http://:5", ""])
def test_an_address_of_another_form_is_refused_with_the_right_one(url: str) -> None:
    with pytest.raises(UsageError, match="http://HOST:PORT"):
        ExternalServer(url)


def test_an_address_where_nothing_answers_is_the_users_error() -> None:
    with pytest.raises(UsageError, match="start the server first"), ExternalServer(f"http://127.0.0.1:{free_port()}"):
        pass
