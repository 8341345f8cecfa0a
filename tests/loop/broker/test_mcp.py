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
from loop_lab import Lab, faster

from vibeserve_loop.broker.link import SOCKET_VARIABLE, TOKEN_VARIABLE
from vibeserve_loop.records import Task

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


def _serving(lab: Lab) -> Any:
    """The tools of the latest run, over standard streams."""
    from mcp.client.stdio import StdioServerParameters, stdio_client

    paths = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "loop")])}
    words = [*SERVER[1:], lab.latest.name, "--runs", str(lab.folder / "runs")]
    return mcp.Client(stdio_client(StdioServerParameters(command=SERVER[0], args=words, env=paths)))


async def _told(client: Any, tool: str, **words: Any) -> str:
    done = await client.call_tool(tool, words)
    said = "\n".join(part.text for part in done.content)
    return f"error: {said}" if done.is_error else said


async def _until(client: Any, name: str, part: str) -> str:
    for _ in range(400):
        if part in (told := await _told(client, name)):
            return told
        await asyncio.sleep(0.05)
    raise AssertionError(told)


def test_one_server_serves_round_after_round_of_a_live_run_and_beyond_it(lab: Lab) -> None:
    words = ("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7", "--agent", "handoff", "--max-rounds", "2")

    async def edit(client: Any, number: int, speed: str) -> None:
        assert await _until(client, "read_brief", f"Round {number}")
        workspace = lab.latest / "workspace"
        (workspace / "speed").write_text(speed)
        ticket = await _judged(client)
        assert ticket["answer"]["comparison"]["gain"] == 2
        assert not (await client.call_tool("create_issue", {"name": f"i{number}", "title": "t"})).is_error
        (lab.target / "slow").write_text("3")
        assert f"round {number} goes on" in await _told(client, "submit_work", summary="twice as fast")
        await _until(client, "start_gate", "no session is open")
        assert f"i{number}" in await _told(client, "get_issue", name=f"i{number}")
        (lab.target / "slow").unlink()

    async def talk(process: subprocess.Popen[str]) -> None:
        async with _serving(lab) as client:
            await edit(client, 1, "200")
            # The issue that was filed is an order, which is a round of its own.
            await edit(client, 3, "400")
            _, errors = await asyncio.to_thread(process.communicate, timeout=60)
            assert process.returncode == 0, errors
            assert "i3" in await _told(client, "list_issues")
            (lab.latest / "workspace" / "speed").write_text("800")
            assert (await _judged(client))["answer"]["comparison"]["gain"] == 2

    process = lab.start(*words)
    while not list(lab.folder.glob("runs/*/handoff/waiting.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    asyncio.run(talk(process))


def test_an_open_server_holds_an_idle_run_only_while_a_gate_runs(lab: Lab) -> None:
    assert lab.run("--max-rounds", "0").returncode == 0

    async def talk() -> None:
        async with _serving(lab) as client:
            assert await _judged(client)
            assert "no loop is at work" in (await asyncio.to_thread(lab.call, "ctl", "stop", "--now")).stdout
            resumed = await asyncio.to_thread(lab.call, "resume")
            assert resumed.returncode == 0, resumed.stderr
            (lab.latest / "workspace" / "speed").write_text("300")
            (lab.target / "slow").write_text("4")
            ticket = (await client.call_tool("start_gate", {"depth": "quick"})).structured_content
            await _until_running(client, ticket["id"])
            refused = await asyncio.to_thread(lab.call, "resume")
            assert refused.returncode == 4
            assert "another gate (process" in refused.stderr
            told = await asyncio.to_thread(lab.call, "ctl", "stop", "--now")
            assert "no loop is at work" in told.stdout
            assert await _told(client, "list_issues") is not None

    asyncio.run(talk())


async def _until_running(client: Any, ticket: str) -> None:
    for _ in range(200):
        found = (await client.call_tool("gate_status", {"ticket": ticket, "wait_s": 0})).structured_content
        if found["state"] == "running":
            return
        await asyncio.sleep(0.02)
    raise AssertionError(found)


def test_the_board_is_served_beside_sessions_at_desks(lab: Lab) -> None:
    (lab.target / "slow").write_text("0.5")
    for name in ("a", "b", "c", "d"):
        lab.skill(name, faster(1.5), relieves="step-overhead")
    words = ("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7", "--workers", "2", "--max-rounds", "4")

    async def talk() -> None:
        async with _serving(lab) as client:
            assert not (await client.call_tool("create_issue", {"name": "mine", "title": "t"})).is_error
            assert "mine" in await _told(client, "list_issues")

    process = lab.start(*words)
    while not list(lab.folder.glob("runs/*/rounds.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    asyncio.run(talk())
    assert process.communicate(timeout=60)
    assert process.returncode == 0


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
        handover.offer(3, Task(kind="work", hypothesis="it gets quicker"), "make it quicker", ())
        brief, told = asyncio.run(talk(desk))
        found = handover.submission()
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
