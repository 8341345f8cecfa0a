"""What a speaking client would have seen of a server that said these events, without either of them."""

from __future__ import annotations

import json

from pytest_vibeserve.modalities.speech.streams import Streamed
from pytest_vibeserve.modalities.speech.wire import SpeechRequest


def streamed(request: SpeechRequest, *events: tuple[float, object], error: str = "") -> Streamed:
    """Events (seconds, what is said) on the stream of a clip whose frames left on time."""
    frames = int(request.clip.seconds / request.chunk_s + 1)
    sent = tuple(request.chunk_s * (k + 1) for k in range(frames))
    told = tuple((at_s, json.dumps(event)) for at_s, event in events)
    return Streamed(request.id, error, 0.0, sent, sent[-1], told, sent[-1] + 1)
