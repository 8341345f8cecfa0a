"""Audio that nobody has heard before: waveforms drawn from a seed, spliced, shifted, padded and made noisy."""

from __future__ import annotations

import io
import random
import wave
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
PEAK = 0.6
SYLLABLE_S = (0.08, 0.3)
PITCH_HZ = (90.0, 260.0)
FORMANTS_HZ = ((250, 900), (800, 2500), (2200, 3600))
HUSH = 3.0
"""Standard deviation of the noise where nobody speaks, in steps of 16 bits: of nothing at all the transcript would be
known beforehand.
"""


@dataclass(frozen=True, slots=True)
class Clip:
    """Mono audio of 16 bits."""

    samples: Samples = field(repr=False, compare=False)
    rate: int
    key: int = 0

    @property
    def seconds(self) -> float:
        """How long it takes to say."""
        return len(self.samples) / self.rate

    @property
    def floats(self) -> NDArray[np.float32]:
        """The samples between -1 and 1."""
        return self.samples.astype(np.float32) / np.float32(32768)

    @property
    def wav(self) -> bytes:
        """The clip as a WAV file."""
        stream = io.BytesIO()
        with wave.open(stream, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes(self.samples.tobytes())
        return stream.getvalue()

    def until(self, seconds: float) -> Clip:
        """The beginning of the clip."""
        return Clip(self.samples[: round(seconds * self.rate)], self.rate, self.key)


@dataclass(frozen=True, slots=True)
class Beginning(Clip):
    """The first part of what had been `said` by some moment; `settled` where an encoder has looked into the rest."""

    said: Samples = field(default_factory=lambda: np.zeros(0, dtype=np.int16), repr=False, compare=False)
    settled: bool = False


def spoken(draws: random.Random, seconds: float, rate: int) -> Clip:
    """Something like speech: syllables of gliding harmonics under moving formants, with pauses and breath."""
    random_ = np.random.default_rng(draws.getrandbits(63))
    size = round(seconds * rate)
    borders = [0]
    while borders[-1] < size:
        borders.append(borders[-1] + round(random_.uniform(*SYLLABLE_S) * rate))
    parts = [_syllable(random_, end - start, rate) for start, end in pairwise(borders)]
    return _clip(np.concatenate(parts)[:size] + 0.003 * random_.standard_normal(size), rate)


def spliced(draws: random.Random, first: Clip, second: Clip) -> Clip:
    """The beginning of one clip and the end of another."""
    cut = draws.uniform(0.3, 0.7)
    head = first.samples[: round(cut * len(first.samples))]
    tail = second.samples[round(cut * len(second.samples)) :]
    return Clip(np.concatenate([head, tail]), first.rate, draws.getrandbits(32))


def shifted(draws: random.Random, clip: Clip) -> Clip:
    """The clip a few milliseconds to a quarter of a second later, of the same length."""
    late = round(draws.uniform(0.003, 0.25) * clip.rate)
    moved = np.concatenate([_hush(draws, late), clip.samples[:-late]])
    return Clip(moved, clip.rate, draws.getrandbits(32))


def padded(draws: random.Random, clip: Clip) -> Clip:
    """The clip between silences, which are never the same."""
    before, after = (_hush(draws, round(draws.uniform(0.05, 0.4) * clip.rate)) for _ in range(2))
    return Clip(np.concatenate([before, clip.samples, after]), clip.rate, draws.getrandbits(32))


def noisy(draws: random.Random, clip: Clip) -> Clip:
    """The clip under white noise of 5 to 25 dB signal to noise ratio."""
    loud = float(np.sqrt(np.square(clip.floats).mean()))
    noise = np.random.default_rng(draws.getrandbits(63)).standard_normal(len(clip.samples))
    return _clip(clip.floats + loud * 10 ** (-draws.uniform(5, 25) / 20) * noise, clip.rate)


def _hush(draws: random.Random, size: int) -> Samples:
    """The noise of a room in which nobody speaks."""
    noise = np.random.default_rng(draws.getrandbits(63)).standard_normal(size)
    return np.round(HUSH * noise).astype(np.int16)


def _clip(wave_: NDArray[np.floating], rate: int) -> Clip:
    largest = max(float(np.abs(wave_).max(initial=0.0)), 1e-9)
    samples = np.round(wave_ / largest * PEAK * 32767).astype(np.int16)
    return Clip(samples, rate, int(np.frombuffer(samples[:64].tobytes(), dtype=np.uint8).sum()))


def _syllable(random_: np.random.Generator, size: int, rate: int) -> NDArray[np.floating]:
    if random_.random() < 0.15:
        return np.zeros(size)
    low, high = random_.uniform(*PITCH_HZ, size=2)
    turns = np.cumsum(np.linspace(low, high, size)) / rate
    sound = np.zeros(size)
    formants = [random_.uniform(*band) for band in FORMANTS_HZ]
    for harmonic in range(1, max(2, int(min(3600, rate / 2.2) / max(low, high)))):
        near = sum(np.exp(-(((harmonic * low - formant) / 180) ** 2)) for formant in formants)
        sound += (near + 0.02) * np.sin(2 * np.pi * harmonic * turns + random_.uniform(0, 2 * np.pi))
    shape = np.sin(np.pi * np.linspace(0, 1, size)) ** random_.uniform(0.4, 1.2)
    found: NDArray[np.floating] = sound * shape * random_.uniform(0.4, 1.0)
    return found
