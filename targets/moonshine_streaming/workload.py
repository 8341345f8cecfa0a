"""What is said: clips of a public data set where one is given, sounds like speech otherwise.

`VIBESERVE_DATA_SPEECH` names a folder in LibriSpeech's layout: files `*.trans.txt` anywhere below it, whose lines are
an utterance's name and its words, and beside each a file `name.flac` or `name.wav`, mono, at the target's sample rate.
Public audio may be known to anybody, so each clip is cut out of several utterances anywhere and lies under faint noise.
"""

import os
import random
import wave
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.modalities.speech import audio
from pytest_vibeserve.modalities.speech.audio import Clip, Samples
from pytest_vibeserve.modalities.speech.wire import SpeechRequest
from pytest_vibeserve.workload import Request, Workload

SPEECH = "VIBESERVE_DATA_SPEECH"
ENDINGS = (".flac", ".wav")
FAINT = 2e-4
"""Standard deviation of the noise under every clip, in units of full scale: some 50 dB below speech."""

MAKERS: dict[str, Callable[[random.Random, Clip], Clip]] = {
    "shifted": audio.shifted, "padded": audio.padded, "noisy": audio.noisy,
}  # fmt: skip


def shaped(requests: list[Request], workload: Workload) -> list[Request]:
    """The requests, of the data set's voices where there is one: as long as they were drawn, changed as they were."""
    path = os.environ.get(SPEECH)
    return [_said(one, Path(path), workload.draws) for one in requests] if path else requests


def _said(request: Request, folder: Path, draws: random.Random) -> Request:
    assert isinstance(request, SpeechRequest)
    rate, size = request.clip.rate, len(request.clip.samples)
    clip = _cut(_utterances(folder), size, rate, draws)
    if request.kind == "spliced":
        clip = audio.spliced(draws, clip, _cut(_utterances(folder), size, rate, draws))
    clip = MAKERS.get(request.kind, lambda _, same: same)(draws, clip)
    return replace(request, clip=clip, prompt_ids=Conditioned(request.prompt_ids, clip))


def _cut(utterances: tuple[Path, ...], size: int, rate: int, draws: random.Random) -> Clip:
    """So many samples from anywhere in the utterances, which follow each other in random order."""
    parts: list[Samples] = []
    while sum(map(len, parts)) < 2 * size:
        parts.append(_samples(draws.choice(utterances), rate))
    joined = np.concatenate(parts)
    start = draws.randrange(len(joined) - size + 1)
    noise = np.random.default_rng(draws.getrandbits(63)).standard_normal(size) * FAINT * 32768
    mixed = np.clip(joined[start : start + size] + noise, -32768, 32767)
    return Clip(np.round(mixed).astype(np.int16), rate, draws.getrandbits(32))


@cache
def _utterances(folder: Path) -> tuple[Path, ...]:
    found = tuple(path for told in sorted(folder.rglob("*.trans.txt")) for path in _listed(told))
    if not found:
        raise UsageError(f"{SPEECH}={folder} holds no utterance: LibriSpeech's layout has files *.trans.txt below it")
    return found


def _listed(told: Path) -> Iterator[Path]:
    """The audio of every line of a list of transcripts."""
    for number, line in enumerate(told.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        name, _, words = line.partition(" ")
        if line.strip() and not words.strip():
            raise UsageError(f"{told}, line {number}: an utterance's name and its words are asked for, found {line!r}")
        files = [path for ending in ENDINGS if (path := told.with_name(name + ending)).is_file()]
        if line.strip() and not files:
            raise UsageError(f"{told}, line {number}: there is neither {name}.flac nor {name}.wav beside it")
        yield from files[:1] if line.strip() else ()


@cache
def _samples(path: Path, rate: int) -> Samples:
    try:
        samples, found, channels = _flac(path) if path.suffix == ".flac" else _wav(path)
    except (OSError, EOFError, wave.Error, RuntimeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if found != rate or channels != 1 or not len(samples):
        shape = f"{found} Hz, {channels} channels, {len(samples)} samples"
        raise UsageError(f"{path}: {shape}; the target asks for {rate} Hz, one channel, and sound")
    return samples


def _wav(path: Path) -> tuple[Samples, int, int]:
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2:
            raise wave.Error(f"{8 * file.getsampwidth()} bits a sample where 16 are asked for")
        raw = file.readframes(file.getnframes())
        return np.frombuffer(raw, dtype="<i2").astype(np.int16), file.getframerate(), file.getnchannels()


def _flac(path: Path) -> tuple[Samples, int, int]:
    try:
        import soundfile
    except ImportError as error:
        raise UsageError(f"{path}: FLAC needs soundfile: pip install 'pytest-vibeserve[asr]'") from error
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    return samples[:, 0].copy(), int(rate), samples.shape[1]
