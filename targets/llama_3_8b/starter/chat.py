"""Chats: the messages of a body become the prompt of a completion, and its answer is written as a chat's."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from transformers import AutoTokenizer

from answers import Answer
from card import Card
from protocol import Request, RequestError, parse
from sequence import Event
from text import Vocabulary


class Message(BaseModel):
    """One turn."""

    model_config = ConfigDict(frozen=True, strict=True)
    role: str
    content: str


_MESSAGES: TypeAdapter[list[Message]] = TypeAdapter(list[Message])


class Chats:
    """The model's chat template, and the way from a chat's body to a request."""

    def __init__(self, folder: Path, card: Card, vocabulary: Vocabulary) -> None:
        """Read the template of a model's folder."""
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._card = card
        self._vocabulary = vocabulary

    def parse(self, raw: bytes) -> Request:
        """Return the request that a chat's body asks for; RequestError says which field is at fault."""
        try:
            fields = json.loads(raw)
            messages = _MESSAGES.validate_python(fields.pop("messages") if isinstance(fields, dict) else None)
        except (KeyError, ValidationError) as error:
            raise RequestError("messages: a list of turns with role and content", param="messages") from error
        except ValueError as error:
            raise RequestError(f"the body is not JSON: {error}") from error
        if not messages:
            raise RequestError("messages: there is none", param="messages")
        fields["prompt"] = self._ids(messages)
        fields["max_tokens"] = fields.pop("max_completion_tokens", None) or fields.get("max_tokens")
        fields["logprobs"] = fields.pop("top_logprobs", None) or 0 if fields.get("logprobs") else None
        return parse(json.dumps(fields).encode(), self._card, self._vocabulary)

    def _ids(self, messages: Iterable[Message]) -> list[int]:
        turns = [{"role": one.role, "content": one.content} for one in messages]
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids


class ChatAnswer(Answer):
    """Writes the answer to one chat, whole or as server-sent events."""

    def __init__(self, request: Request, model: str, vocabulary: Vocabulary) -> None:
        """Begin the answer to `request` by the model of that name."""
        super().__init__(request, model, vocabulary)
        self._head["object"] = "chat.completion.chunk" if request.stream else "chat.completion"

    def _choice(self, event: Event) -> dict[str, Any]:
        choice = super()._choice(event)
        said = {"role": "assistant", "content": choice.pop("text")}
        choice["delta" if self._request.stream else "message"] = said
        if choice["logprobs"] is not None:
            choice["logprobs"] = {"content": _content(choice["logprobs"])}
        return choice


def _content(logprobs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the logprobs of a completion as a chat has them, token by token."""
    each = zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
    return [
        {
            "token": token,
            "logprob": logprob,
            "top_logprobs": [{"token": other, "logprob": value} for other, value in top.items()],
        }
        for token, logprob, top in each
    ]
