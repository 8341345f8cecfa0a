"""Sends a blank as the first token of a stream before the model has said anything."""

from aiohttp import web

import server

GROUP = "D1"
CHECK = ("audit.text", "audit.answered", "stream.first-token")
BLANK = b'data: {"choices": [{"index": 0, "text": " ", "logprobs": null, "finish_reason": null}]}\n\n'


class Early(web.StreamResponse):
    async def prepare(self, request: web.Request) -> object:
        prepared = await super().prepare(request)
        await self.write(BLANK)
        return prepared


server.web.StreamResponse = Early
server.main()
