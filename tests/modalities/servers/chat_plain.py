"""The plain chat server: masks the logits by the grammar and takes the best, one answer at a time, on aiohttp."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llguidance
import numpy as np
from aiohttp import web
from decoder import Decoder, Sampling
from transformers import AutoTokenizer

Body = dict[str, Any]
END = 1


@dataclass
class Said:
    """One choice in the making: ids, the logprobs of each, why it ended."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[np.ndarray] = field(default_factory=list)
    text: str = ""
    reason: str = ""


class Chat:
    """The honest server."""

    dtype, attention, silent = "bfloat16", "sdpa", ""

    def __init__(self, model: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        self.decoder = Decoder(model, self.dtype, self.attention)
        self.tokens = llguidance.LLTokenizer((model / "tokenizer.json").read_text(), eos_token=[END])
        self.turn = asyncio.Lock()

    def messages(self, body: Body) -> list[Body]:
        return body["messages"]

    def prompt(self, body: Body) -> list[int]:
        text = self.tokenizer.apply_chat_template(self.messages(body), tokenize=False, add_generation_prompt=True)
        return self.tokenizer.encode(text, add_special_tokens=False)

    def matcher(self, body: Body) -> Any:
        wanted = body.get("response_format")
        if not wanted:
            return None
        styled = {"item_separator": ",", "key_separator": ":", "whitespace_flexible": False}
        schema = {**wanted["json_schema"]["schema"], "x-guidance": styled}
        return llguidance.LLMatcher(self.tokens, llguidance.LLMatcher.grammar_from_json_schema(schema))

    def choice(self, body: Body, number: int) -> Iterator[Said]:
        """The choice as it grows, one token a step."""
        said, matcher = Said(), self.matcher(body)
        seed = body.get("seed")
        sampling = Sampling(
            body["temperature"], body["top_p"], body["top_k"],
            tuple((int(k), v) for k, v in body.get("logit_bias", {}).items()), None if seed is None else seed + number,
        )  # fmt: skip
        steps = self.decoder.tokens(
            self.prompt(body), body["max_tokens"], sampling, matcher and (lambda ids: mask(matcher))
        )
        for token, logprobs in steps:
            said.ids.append(token)
            said.logprobs.append(logprobs)
            if matcher and not matcher.is_stopped():
                matcher.consume_token(token)
            self.write(said, body)
            yield said
            if said.reason:
                return

    def write(self, said: Said, body: Body) -> None:
        text = self.tokenizer.decode(said.ids, skip_special_tokens=True)
        places = [text.find(stop) for stop in body.get("stop", ()) if stop in text]
        said.text = text[: min(places)] if places else text
        if places or (said.ids[-1] == END and not body["ignore_eos"]):
            said.reason = "stop"
        elif len(said.ids) >= body["max_tokens"]:
            said.reason = "length"

    async def complete(self, request: web.Request) -> web.StreamResponse:
        try:
            body = json.loads(await request.read())
            prompt = checked(body) or self.prompt(body)
            matcher = self.matcher(body)
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            return refused(f"{type(fault).__name__}: {fault}")
        if isinstance(prompt, str) or (matcher is not None and matcher.is_error()):
            return refused(prompt if isinstance(prompt, str) else "the schema is none")
        async with self.turn:
            return await (self.stream if body["stream"] else self.whole)(request, body, prompt)

    def ids(self, said: Said, body: Body, start: int) -> Body:
        """The ids from a place on; of a server that is `silent` none, or none for a schema."""
        is_silent = self.silent == "silent" or (self.silent and body.get("response_format"))
        return {} if is_silent else {"token_ids": said.ids[start:]}

    async def whole(self, request: web.Request, body: Body, prompt: list[int]) -> web.StreamResponse:
        choices, count = [], 0
        for index in range(body["n"]):
            said = [state async for state in stepped(self.choice(body, index))][-1]
            message = {"role": "assistant", "content": said.text}
            choices.append({"index": index, "message": message, **tail(said, body, 0), **self.ids(said, body, 0)})
            count += len(said.ids)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": count}
        return web.json_response({"choices": choices, "usage": usage, "prompt_token_ids": prompt})

    async def stream(self, request: web.Request, body: Body, prompt: list[int]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        count = 0
        for index in range(body["n"]):
            sent = 0
            shown = ""
            async for said in stepped(self.choice(body, index)):
                ready = said.text if said.reason else safe(said.text, body)
                new = ready[len(shown) :] if ready.startswith(shown) else ""
                shown += new
                choice = {"index": index, "delta": {"content": new}, **tail(said, body, sent)}
                choice |= self.ids(said, body, sent)
                sent = len(said.ids)
                await response.write(event({"choices": [choice], "prompt_token_ids": prompt}))
            count += sent
        if body.get("stream_options"):
            usage = {"prompt_tokens": len(prompt), "completion_tokens": count}
            await response.write(event({"choices": [], "usage": usage}))
        await response.write(b"data: [DONE]\n\n")
        return response


def mask(matcher: Any) -> np.ndarray:
    if matcher.is_stopped():
        alone = np.zeros(matcher_size(matcher), dtype=bool)
        alone[END] = True
        return alone
    return np.frombuffer(matcher.compute_logit_bias(), dtype=np.uint8) > 0


def matcher_size(matcher: Any) -> int:
    return 512


def safe(text: str, body: Body) -> str:
    """What may be shown before the end: no half character, nothing that may become a stop string."""
    longest = max((len(stop) for stop in body.get("stop", ())), default=0)
    return text.rstrip("\ufffd")[: len(text) - longest] if longest else text.rstrip("\ufffd")


def tail(said: Said, body: Body, start: int) -> Body:
    found: Body = {"finish_reason": said.reason or None}
    if body.get("logprobs"):
        found["logprobs"] = {"content": [entry(said, i, body["top_logprobs"]) for i in range(start, len(said.ids))]}
    return found


def entry(said: Said, position: int, count: int) -> Body:
    values, token = said.logprobs[position], said.ids[position]
    tops = [{"token": f"token_id:{i}", "logprob": float(values[i])} for i in np.argsort(-values)[:count]]
    return {"token": f"token_id:{token}", "logprob": float(values[token]), "top_logprobs": tops}


def checked(body: Body) -> str:
    messages = body["messages"]
    if not isinstance(messages, list) or not messages or any("content" not in one for one in messages):
        return "messages are wrong"
    if body["max_tokens"] < 1 or body["temperature"] < 0 or body.get("model", "tiny") != "tiny":
        return "a field is wrong"
    return ""


def refused(message: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid"}
    return web.json_response({"error": error}, status=400)


def event(payload: Body) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


async def stepped(steps: Iterator[Said]) -> AsyncIterator[Said]:
    for said in steps:
        yield said
        await asyncio.sleep(0)


async def serve(chat: Chat) -> None:
    async def health(request: web.Request) -> web.Response:
        return web.json_response({})

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "tiny"}]})

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", chat.complete), web.get("/health", health)])
    app.add_routes([web.get("/v1/models", models)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
