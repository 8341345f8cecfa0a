from __future__ import annotations

import http.server
import socket
import threading
from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.cli_agents.choices import choice_of, endpoints_of
from vibeserve_loop.cli_agents.reach import Reach, check_doors, endpoints_named, reaching
from vibeserve_loop.walls.relay import Endpoint


def _hosts(name: str, **options: str) -> list[str]:
    return [f"{found.host}:{found.port}" for found in endpoints_of(choice_of(name, options))]


def test_endpoints_are_named_by_host_with_the_port_of_tls_unless_said() -> None:
    assert endpoints_named("a.test, b.test:81,http://c.test/v1") == (
        Endpoint("a.test", 443), Endpoint("b.test", 81), Endpoint("c.test", 80),
    )  # fmt: skip
    assert endpoints_named("any") == ()
    with pytest.raises(UsageError, match="is no endpoint"):
        endpoints_named("a.test:port")


def test_a_program_reaches_its_endpoint_or_where_its_provider_answers() -> None:
    assert _hosts("claude") == ["api.anthropic.com:443"]
    assert _hosts("claude", base_url="http://model.test:8000/v1") == ["model.test:8000"]
    assert _hosts("claude", endpoints="extra.test") == ["api.anthropic.com:443", "extra.test:443"]
    assert "auth.openai.com:443" in _hosts("codex", home="user")
    assert "auth.openai.com:443" not in _hosts("codex")
    unknown = [_hosts("acp", command="mine"), _hosts("opencode", home="user"), _hosts("claude", endpoints="any")]
    assert unknown == [[], [], []]


def test_each_name_elsewhere_has_an_address_of_its_own(tmp_path: Path) -> None:
    asked = (Endpoint("b.test", 443), Endpoint("a.test", 8000), Endpoint("a.test", 443), Endpoint("127.0.0.1", 8123))
    with reaching(asked, tmp_path / "hosts") as found:
        told = {(door.address, door.endpoint.port) for door in found.doors}
        assert all(door.socket.exists() for door in found.doors)
    assert told == {("127.0.1.2", 443), ("127.0.1.1", 8000), ("127.0.1.1", 443), ("127.0.0.1", 8123)}
    assert found.is_privileged
    lines = (tmp_path / "hosts").read_text().splitlines()
    assert lines == ["127.0.0.1 localhost", "::1 localhost", "127.0.1.1 a.test", "127.0.1.2 b.test"]
    assert not any(door.socket.exists() for door in found.doors)
    assert not Reach().is_privileged


def test_only_this_machine_is_reached_by_number() -> None:
    check_doors((Endpoint("127.0.0.1", 80), Endpoint("::1", 80), Endpoint("a.test", 443)))
    with pytest.raises(UsageError, match="by its name"):
        check_doors((Endpoint("10.1.2.3", 80),))


def test_a_door_leads_to_its_endpoint(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    there = Endpoint("localhost", server.server_address[1])
    with reaching((there,), tmp_path / "hosts") as found, socket.socket(socket.AF_UNIX) as way:
        way.settimeout(20)
        way.connect(str(found.doors[0].socket))
        way.sendall(b"NONSENSE / HTTP/1.0\r\n\r\n")
        assert b"501" in way.recv(4096)
    server.shutdown()
    thread.join()
    server.server_close()
