"""Tiny models of every modality, made from a seed, and their targets."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from pytest_vibeserve.modalities.speech.wire import SpeechRequest, SpeechWire
from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.target import Audit, Chat, Mix, Target, load_target
from pytest_vibeserve.workload import Vocabulary

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


@pytest.fixture(scope="session")
def chat_model(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest text model with a chat template beside it."""
    folder = tmp_path_factory.mktemp("models") / "chat"
    shutil.copytree(model_folder(tiny), folder)
    (folder / ".manifest.json").unlink()
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def chat_target(tiny: Target) -> Target:
    """The smallest target as one of constrained chats with predictions."""
    mix = (Mix(name="chat", weight=1, prompt_tokens=(8, 24), output_tokens=(8, 16)),)
    return tiny.model_copy(
        update={
            "modality": "chat-json", "mix": mix, "chat": Chat(schemas=True, predictions=True),
            "audit": Audit(quick=24, full=48), "limits": tiny.limits.model_copy(update={"concurrency": 4}),
        }
    )  # fmt: skip


@pytest.fixture(scope="session")
def chat_vocabulary(chat_model: Path) -> Vocabulary:
    return Vocabulary(chat_model)


@pytest.fixture(scope="session")
def image_target() -> Target:
    return load_target("show_o2_h100", "tiny")


@pytest.fixture(scope="session")
def image_model(image_target: Target) -> Path:
    return model_folder(image_target)


@pytest.fixture(scope="session")
def speech_target() -> Target:
    return load_target("moonshine_streaming", "tiny")


@pytest.fixture(scope="session")
def speech_model(speech_target: Target) -> Path:
    return model_folder(speech_target)


@pytest.fixture(scope="session")
def speech_vocabulary(speech_model: Path) -> Vocabulary:
    return Vocabulary(speech_model)


@pytest.fixture
def wire(speech_target: Target, vocabulary: Vocabulary) -> SpeechWire:
    return SpeechWire(speech_target, vocabulary, 0)


@pytest.fixture
def request_(wire: SpeechWire) -> SpeechRequest:
    found = wire.fresh(random.Random(2), 1)[0]
    assert isinstance(found, SpeechRequest)
    return found
