"""A plain chat server and its dishonest brothers.

chat_server.py MODEL KIND     prints its port; "KIND silent" reports no token ids, "KIND half-silent" none for schemas
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from chat_plain import END, Body, Chat, Said, mask, serve
from decoder import Sampling

SENTINEL = re.compile(r"sx-[0-9a-f]{8}")


class Canned(Chat):
    """What the cheats share: an answer in text, made without the model."""

    def text(self, body: Body) -> str | None:
        raise KeyError(body["model"])

    def choice(self, body: Body, number: int) -> Iterator[Said]:
        text = self.text(body)
        if text is None:
            yield from super().choice(body, number)
            return
        ids = [*self.tokenizer.encode(text, add_special_tokens=False), END][: body["max_tokens"]]
        said = Said(ids, [np.full(512, -6.2)] * len(ids))
        self.write(said, body)
        yield said


class Filled(Canned):
    """Fills the schema without a model: the first of an enum, nought, and for a code the first in the prompt."""

    def text(self, body: Body) -> str | None:
        wanted = body.get("response_format")
        if not wanted:
            return None
        said = " ".join(message["content"] for message in body["messages"])
        fields = wanted["json_schema"]["schema"]["properties"]
        return json.dumps({name: self.value(kind, said) for name, kind in fields.items()}, separators=(",", ":"))

    def value(self, kind: Body, said: str) -> Any:
        if "enum" in kind:
            return kind["enum"][0]
        if kind["type"] == "string":
            found = SENTINEL.findall(said)
            return found[0] if "sx" in kind["pattern"] and found else "aa"
        return {"integer": 0, "boolean": True}.get(kind["type"], [kind.get("items", {"enum": ["x"]})["enum"][0]])


class Sentinel(Filled):
    """Answers by a regular expression where the schema asks for a code, by the model elsewhere."""

    def text(self, body: Body) -> str | None:
        return super().text(body) if "sx-" in json.dumps(body.get("response_format")) else None


class BySchema(Canned):
    """Answers of a schema given again for every prompt of that schema."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        self.kept: dict[str, str] = {}

    def key(self, body: Body) -> str:
        return json.dumps(body.get("response_format")) if body.get("response_format") else ""

    def text(self, body: Body) -> str | None:
        return self.kept.get(self.key(body))

    def choice(self, body: Body, number: int) -> Iterator[Said]:
        said = Said()
        for said in super().choice(body, number):
            yield said
        if key := self.key(body):
            self.kept[key] = said.text


class ByWords(BySchema):
    """Answers of a wording given again whatever the schema."""

    def key(self, body: Body) -> str:
        return json.dumps(body["messages"]) if body.get("response_format") else ""


class Stored(BySchema):
    """Gives the very same request its document again."""

    def key(self, body: Body) -> str:
        asked = body.get("response_format") and not body["temperature"]
        return json.dumps([body["messages"], body["response_format"]]) if asked else ""


class Likeliest(Chat):
    """Gives the likeliest document whatever the temperature."""

    def choice(self, body: Body, number: int) -> Iterator[Said]:
        greedy = {"temperature": 0.0} if body.get("response_format") else {}
        yield from super().choice({**body, **greedy}, number)


class ByShape(Chat):
    """Takes a schema for an earlier one whose fields have the same names and kinds."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        self.known: dict[str, Body] = {}

    def key(self, schema: Body) -> str:
        return json.dumps([(name, kind.get("type")) for name, kind in schema["properties"].items()])

    def matcher(self, body: Body) -> Any:
        schema = body["response_format"]["json_schema"]["schema"] if body.get("response_format") else {}
        if "properties" in schema:
            known = self.known.setdefault(self.key(schema), schema)
            body = {**body, "response_format": {"json_schema": {"schema": known}}}
        return super().matcher(body)


class ByFields(ByShape):
    """Takes a schema for an earlier one with the same fields in whatever order."""

    def key(self, schema: Body) -> str:
        return json.dumps([schema["properties"], sorted(schema["required"])], sort_keys=True)


class Echo(Canned):
    """Gives the prediction back."""

    def text(self, body: Body) -> str | None:
        return (body.get("prediction") or {}).get("content") or None


class Unconstrained(Chat):
    """Reads no schema."""

    def matcher(self, body: Body) -> Any:
        return None


class NoSystem(Chat):
    """Leaves the system's turn out."""

    def messages(self, body: Body) -> list[Body]:
        return [message for message in body["messages"] if message["role"] != "system"]


class Float32(Chat):
    """Honest, in full precision."""

    dtype = "float32"


class Eager(Chat):
    """Honest, with the other attention."""

    attention = "eager"


class JumpForward(Chat):
    """Honest: writes what the grammar forces without asking the model, cut into tokens at random."""

    def choice(self, body: Body, number: int) -> Iterator[Said]:
        matcher = self.matcher(body)
        if matcher is None:
            yield from super().choice(body, number)
            return
        said, prompt, draws = Said(), self.prompt(body), random.Random(0)
        while not said.reason:
            forced = matcher.compute_ff_bytes() if not matcher.is_stopped() else b""
            steps = self.decoder.tokens(
                [*prompt, *said.ids], 1, Sampling(body["temperature"]), lambda ids: mask(matcher)
            )
            token, logprobs = next(iter(steps))
            several = draws.choice(self.cuts(forced))
            for one in several or [token]:
                said.ids.append(one)
                said.logprobs.append(logprobs)
                if not matcher.is_stopped():
                    matcher.consume_token(one)
            self.write(said, body)
            yield said

    def cuts(self, forced: bytes) -> list[list[int]]:
        return [self.tokens.tokenize_bytes(forced), list(forced_bytes(self.tokens, forced))]


class PlainJumps(JumpForward):
    """Honest: cuts what is forced as the tokenizer does, each piece by itself."""

    def cuts(self, forced: bytes) -> list[list[int]]:
        return super().cuts(forced)[:1]


def forced_bytes(tokens: Any, forced: bytes) -> Iterator[int]:
    """The forced text byte by byte."""
    for value in forced:
        yield from tokens.tokenize_bytes(bytes([value]))


KINDS: dict[str, type[Chat]] = {
    "honest": Chat, "float32": Float32, "eager": Eager, "jump-forward": JumpForward, "filled": Filled,
    "sentinel": Sentinel, "by-schema": BySchema, "by-words": ByWords, "echo": Echo, "unconstrained": Unconstrained,
    "no-system": NoSystem, "plain-jumps": PlainJumps, "stored": Stored, "likeliest": Likeliest, "by-shape": ByShape,
    "by-fields": ByFields,
}  # fmt: skip


if __name__ == "__main__":
    kind, _, silence = sys.argv[2].partition(" ")
    server = KINDS[kind](Path(sys.argv[1]))
    server.silent = silence
    asyncio.run(serve(server))
