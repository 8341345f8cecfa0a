"""The model's chat template: from messages to the ids that the model must be given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.chat.wire import Message
from pytest_vibeserve.weights import INSTALL
from pytest_vibeserve.workload import Vocabulary


class Template:
    """The template of a model folder (`chat_template.jinja` or `tokenizer_config.json`), rendered by Transformers."""

    def __init__(self, model: Path, vocabulary: Vocabulary) -> None:
        """UsageError when the folder has no template."""
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise UsageError(f"chats need {error.name}: {INSTALL}") from error
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True)
        if not self._tokenizer.chat_template:
            raise UsageError(f"{model} has no chat template: put chat_template.jinja beside its tokenizer.json")
        self._vocabulary = vocabulary

    def ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The prompt up to where the assistant's answer begins; the template writes its own special tokens."""
        turns = [{"role": message.role, "content": message.content} for message in messages]
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return tuple(self._vocabulary.tokenizer.encode(text, add_special_tokens=False).ids)
