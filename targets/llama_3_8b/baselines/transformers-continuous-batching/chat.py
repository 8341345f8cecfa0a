"""Chats in front of the same engine: messages become a prompt by the model's template, choices become messages."""

from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from completion import Answer, Body, Card, Job, Refusal, read
from transformers import AutoTokenizer

from server import Route, Service, main


class ChatAnswer(Answer):
    """The JSON around the choices of one chat."""

    def __init__(self, body: Body, jobs: list[Job], card: Card) -> None:
        """Give the answer its id and its kind."""
        super().__init__(body, jobs, card)
        self._head["object"] = "chat.completion.chunk" if body.stream else "chat.completion"

    def said(self, choice: dict[str, Any], kind: str) -> dict[str, Any]:
        """Return a choice object as a message, or a part of one."""
        found = {name: value for name, value in choice.items() if name != "text"}
        found[kind] = {"role": "assistant", "content": choice["text"]}
        if found["logprobs"] is not None:
            found["logprobs"] = {"content": _content(found["logprobs"])}
        return found


class ChatService(Service):
    """The service with a route for chats."""

    def __init__(self, folder: Path) -> None:
        """Load the model and its template."""
        super().__init__(folder)
        self._template: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def routes(self) -> list[tuple[str, str, Route]]:
        """Method, path and handler of everything that is served."""
        return [*super().routes(), ("POST", "/v1/chat/completions", self.chats)]

    async def chats(self, http: web.Request) -> web.StreamResponse:
        """Answer a chat, whole or as a stream."""
        return await self.answered(http, self._body(await http.read()), ChatAnswer)

    def _body(self, raw: bytes) -> Body:
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise Refusal(f"the body is not JSON: {error}") from error
        turns = fields.pop("messages", None) if isinstance(fields, dict) else None
        if not isinstance(turns, list) or not turns or not all(map(_is_turn, turns)):
            raise Refusal("messages: a list of turns with role and content is asked for", "messages")
        text = self._template.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        fields["prompt"] = self._card.tokenizer.encode(text, add_special_tokens=False).ids
        fields["max_tokens"] = fields.pop("max_completion_tokens", None) or fields.get("max_tokens")
        most = fields.pop("top_logprobs", None)
        fields["logprobs"] = (most or 0) if fields.get("logprobs") else None
        return read(orjson.dumps(fields))


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)


def _content(logprobs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the logprobs of a completion as a chat has them, token by token."""
    each = zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
    return [
        {
            "token": token,
            "logprob": value,
            "top_logprobs": [{"token": other, "logprob": its} for other, its in top.items()],
        }
        for token, value, top in each
    ]


if __name__ == "__main__":
    main(ChatService)
