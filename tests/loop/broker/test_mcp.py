from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from broker_lab import CHECKOUT, Desk, desk_at
from loop_lab import Lab

from vibeserve_loop.broker.link import SOCKET_VARIABLE, TOKEN_VARIABLE

mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

from vibeserve_loop.broker.mcp_server import server_for  # noqa: E402

TOOLS = {
    "start_gate", "gate_status", "gate_verdict", "list_issues", "get_issue", "search_issues", "create_issue",
    "update_issue", "read_brief", "submit_work",
}  # fmt: skip
SERVER = (sys.executable, "-P", "-m", "vibeserve_loop.broker.mcp_server")


def _environment(desk: Desk) -> dict[str, str]:
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "loop")])
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": paths}
    return {**kept, SOCKET_VARIABLE: desk.link.address.socket, TOKEN_VARIABLE: desk.link.address.token}


async def _judged(client: Any) -> dict[str, Any]:
    ticket = (await client.call_tool("start_gate", {"depth": "quick"})).structured_content
    while ticket["state"] in ("queued", "running"):
        ticket = (await client.call_tool("gate_status", {"ticket": ticket["id"], "wait_s": 20})).structured_content
    return dict(ticket)


def test_the_gate_and_the_board_are_tools(lab: Lab) -> None:
    async def talk(desk: Desk) -> None:
        async with mcp.Client(server_for(desk.link)) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            ticket = await _judged(client)
            assert ticket["answer"]["outcome"] == "accepted"
            words = (await client.call_tool("gate_verdict", {"ticket": ticket["id"]})).content[0].text
            assert "against the base: x2.500" in words
            filed = {"name": "batch", "title": "Batch requests", "mechanism": "one step serves many", "weight": 0.4}
            assert not (await client.call_tool("create_issue", filed)).is_error
            found = (await client.call_tool("search_issues", {"text": "serves many"})).structured_content["result"]
            assert [item["id"] for item in found] == ["batch"]
            closed = {"name": "batch", "state": "done", "reason": "it was carried through"}
            assert (await client.call_tool("update_issue", closed)).structured_content["state"] == "done"
            assert (await client.call_tool("list_issues", {"state": "open"})).structured_content["result"] == []

    with desk_at(lab) as desk:
        desk.write(speed="250")
        asyncio.run(talk(desk))


def test_a_refusal_is_an_error_of_the_tool_with_its_reason(lab: Lab) -> None:
    async def talk(desk: Desk) -> None:
        async with mcp.Client(server_for(desk.link)) as client:
            for name, words, reason in (
                ("get_issue", {"name": "nothing"}, "no issue is called"),
                ("gate_status", {"ticket": "9"}, "there is no gate"),
                ("submit_work", {"summary": "done"}, "nothing waits for edits"),
                ("start_gate", {"depth": "deep"}, "quick"),
            ):
                told = await client.call_tool(name, words)
                assert told.is_error
                assert reason in told.content[0].text

    with desk_at(lab) as desk:
        asyncio.run(talk(desk))


def test_a_program_of_its_own_serves_over_standard_streams(lab: Lab) -> None:
    async def talk(desk: Desk) -> dict[str, Any]:
        from mcp.client.stdio import StdioServerParameters, stdio_client

        found = StdioServerParameters(command=SERVER[0], args=list(SERVER[1:]), env=_environment(desk))
        async with mcp.Client(stdio_client(found)) as client:
            return await _judged(client)

    with desk_at(lab) as desk:
        desk.write(wrong="")
        ticket = asyncio.run(talk(desk))
    assert ticket["answer"]["outcome"] == "rejected"
    assert ticket["quick_left"] == 7


def test_it_serves_over_http_on_the_loopback_device_only(lab: Lab) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def talk() -> dict[str, Any]:
        async with mcp.Client(f"http://127.0.0.1:{port}/mcp") as client:
            return await _judged(client)

    with (
        desk_at(lab) as desk,
        subprocess.Popen([*SERVER, "--http", str(port)], env=_environment(desk), stderr=subprocess.PIPE) as process,
    ):
        try:
            _listening(port)
            assert _listeners(process.pid, port) == {"0100007F"}
            assert asyncio.run(talk())["answer"]["outcome"] == "accepted"
        finally:
            process.terminate()


def test_a_run_that_nobody_works_on_gets_a_broker_of_its_own(lab: Lab) -> None:
    assert lab.run("--max-rounds", "0").returncode == 0

    async def talk() -> dict[str, Any]:
        from mcp.client.stdio import StdioServerParameters, stdio_client

        paths = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "loop")])}
        words = [*SERVER[1:], lab.latest.name, "--runs", str(lab.folder / "runs")]
        async with mcp.Client(stdio_client(StdioServerParameters(command=SERVER[0], args=words, env=paths))) as client:
            return await _judged(client)

    (lab.latest / "workspace" / "speed").write_text("300")
    assert asyncio.run(talk())["answer"]["comparison"]["gain"] == 3
    assert not list(lab.latest.glob(".broker-*"))


def _listening(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


def _listeners(pid: int, port: int) -> set[str]:
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    places = [line.split()[1].split(":") for line in lines if line.split()[3] == "0A"]
    return {address for address, found in places if int(found, 16) == port}


def test_work_that_is_handed_off_comes_back_over_mcp(lab: Lab) -> None:
    from vibeserve_loop.desk.handover import Handover

    async def talk(desk: Desk) -> tuple[str, str]:
        async with mcp.Client(server_for(desk.link)) as client:
            brief = (await client.call_tool("read_brief", {})).content[0].text
            return brief, (await client.call_tool("submit_work", {"summary": "quicker"})).content[0].text

    with desk_at(lab) as desk:
        handover = Handover(desk.workspace)
        handover.offer(3, "it gets quicker", "make it quicker")
        brief, told = asyncio.run(talk(desk))
        found = handover.submission(3)
    assert "make it quicker" in brief
    assert str(desk.workspace) in brief
    assert "round 3" in told
    assert found is not None
    assert found.summary == "quicker"


def test_calls_of_several_agents_do_not_wait_for_each_other(lab: Lab) -> None:
    (lab.target / "slow").write_text("3")

    async def talk(desk: Desk) -> list[bool]:
        async with mcp.Client(server_for(desk.link)) as client:
            ticket = (await client.call_tool("start_gate", {})).structured_content
            waiting = asyncio.ensure_future(client.call_tool("gate_status", {"ticket": ticket["id"], "wait_s": 40}))
            await client.call_tool("list_issues", {})
            seen = [waiting.done()]
            await waiting
            return [*seen, waiting.done()]

    with desk_at(lab) as desk:
        assert asyncio.run(talk(desk)) == [False, True]
