"""The Judge for what is not plain text: chats under a JSON Schema, speech, images; the target's modality says which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge import Judge
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.modalities.wire import ServedBench, Wire
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary

__all__ = ["Judging", "ServedBench", "Wire", "judge_of", "text_judge", "wire_of"]


class Judging(Protocol):
    """What a test may ask of the fixture `judge`, whatever the modality."""

    def audit(self) -> None:
        """The answers are the model's own."""

    def sampled(self) -> None:
        """Sampled answers are draws from the model."""

    def interface(self) -> None:
        """Every field of a request means what the contract says."""

    def sessions(self) -> None:
        """Nothing passes between requests, whoever leaves."""

    def repeats(self) -> None:
        """What comes again is computed again."""

    def canary(self) -> None:
        """The weights are those that were given."""

    def examine(self, answers: Sequence[Answer]) -> list[Check]:
        """Audit answers that were measured."""


def judge_of(bench: ServedBench, model: Path) -> Judging:
    """The Judge of the target's modality; its packages are imported only where they are needed."""
    if bench.target.modality == "image":
        from pytest_vibeserve.modalities.image.judge import ImageJudge

        return ImageJudge(bench, model)
    if bench.target.modality == "speech":
        from pytest_vibeserve.modalities.speech.judge import SpeechJudge

        return SpeechJudge(bench, model)
    if bench.target.modality == "chat-json":
        from pytest_vibeserve.modalities.chat.judge import ChatJudge

        return ChatJudge(bench, model)
    return text_judge(bench, model)


def text_judge(bench: Bench, model: Path, auditor: Callable[[], Auditor] | None = None, sampling: int = 1) -> Judge:
    """The Judge of a text target: of its completions, and of its chats where it has them beside."""
    if bench.target.chat.beside_completions:
        from pytest_vibeserve.modalities.chat.beside import JudgeOfBoth

        return JudgeOfBoth(bench, model, auditor, sampling)
    return Judge(bench, model, auditor, sampling)


def wire_of(target: Target, vocabulary: Vocabulary, model: Path) -> Wire:
    """How the requests of the target's modality travel: what measures a load needs to draw and to read them."""
    if target.modality == "image":
        from pytest_vibeserve.modalities.image.wire import ImageWire

        return ImageWire(target, vocabulary)
    if target.modality == "speech":
        from pytest_vibeserve.modalities.speech.wire import SpeechWire

        return SpeechWire.of(target, vocabulary, model)
    if target.modality == "chat-json":
        from pytest_vibeserve.modalities.chat.bench import ChatWire

        return ChatWire(target, vocabulary, model)
    from pytest_vibeserve.modalities.text import TextWire

    return TextWire(target, vocabulary)
