"""A WebSocket server without a model: says how much it has heard after every frame, and in the end who left before.

listener.py ANY [MODE]     prints its port; MODE is `honest`, `silent` (never ends) or `rude` (hangs up)
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import WSMsgType, web

MODE = sys.argv[2]
LEFT: list[list[object]] = []


async def stream(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    heard, opening, stays = 0, "", False
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            heard += len(message.data)
            await socket.send_json({"type": "partial", "heard": heard})
            if MODE == "rude":
                assert request.transport is not None
                request.transport.abort()
        elif "finalize" in message.data and MODE == "honest":
            stays = True
            await socket.send_json({"type": "final", "heard": heard, "left": LEFT})
            await socket.close()
        else:
            opening = message.data
    if not stays:
        LEFT.append([opening, heard, socket.close_code])
    return socket


async def serve() -> None:
    app = web.Application()
    app.add_routes([web.get("/v1/audio/stream", stream)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
