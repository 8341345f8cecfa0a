"""A WebSocket server without a model: says how much it has heard after every frame.

listener.py ANY [MODE]     prints its port; MODE is `honest`, `silent` (never ends) or `rude` (hangs up)
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiohttp import WSMsgType, web

MODE = sys.argv[2]


async def stream(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    heard = 0
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            heard += len(message.data)
            await socket.send_json({"type": "partial", "heard": heard})
            if MODE == "rude":
                assert request.transport is not None
                request.transport.abort()
        elif json.loads(message.data)["type"] == "finalize" and MODE == "honest":
            await socket.send_json({"type": "final", "heard": heard})
            await socket.close()
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
