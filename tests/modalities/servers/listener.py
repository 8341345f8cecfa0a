"""A WebSocket server without a model: says how much it has heard after every frame, and in the end who left before.

listener.py ANY [MODE]     prints its port; MODE is `honest`, `silent` (never ends), `rude` (hangs up), `deaf` (never
reads a frame), `slow` (reads a frame in a tenth of a second) or `closed` (opens streams after half a second)
"""

from __future__ import annotations

import asyncio
import socket
import sys

from aiohttp import WSMsgType, web

MODE = sys.argv[2]
LEFT: list[list[object]] = []


async def stream(request: web.Request) -> web.WebSocketResponse:
    line = web.WebSocketResponse(max_msg_size=2**27)
    if MODE == "closed":
        await asyncio.sleep(0.5)
    await line.prepare(request)
    heard, opening, stays = 0, "", False
    if MODE == "deaf":
        assert request.transport is not None
        request.transport.pause_reading()
        await asyncio.sleep(60)
    async for message in line:
        if message.type == WSMsgType.BINARY:
            heard += len(message.data)
            if MODE == "slow":
                await asyncio.sleep(0.1)
            await line.send_json({"type": "partial", "heard": heard})
            if MODE == "rude":
                assert request.transport is not None
                request.transport.abort()
        elif "finalize" in message.data and MODE != "silent":
            stays = True
            await line.send_json({"type": "final", "heard": heard, "left": LEFT})
            await line.close()
        else:
            opening = message.data
    if not stays:
        LEFT.append([opening, heard, line.close_code])
    return line


async def serve() -> None:
    app = web.Application()
    app.add_routes([web.get("/v1/audio/stream", stream)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    door = socket.create_server(("127.0.0.1", 0))
    # What the kernel keeps for a server would grow while it reads slowly.
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    await web.SockSite(runner, door).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
