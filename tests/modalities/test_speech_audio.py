"""Audio comes from a seed, is new every time, and is changed as the name says."""

from __future__ import annotations

import io
import random
import wave

import numpy as np
import pytest

from pytest_vibeserve.modalities.speech import audio

RATE = 16_000


@pytest.fixture
def clip() -> audio.Clip:
    return audio.spoken(random.Random(3), 1.5, RATE)


def test_a_seed_gives_its_clip_and_another_gives_another(clip: audio.Clip) -> None:
    again, other = (audio.spoken(random.Random(seed), 1.5, RATE) for seed in (3, 4))
    assert np.array_equal(clip.samples, again.samples)
    assert not np.array_equal(clip.samples, other.samples)
    assert clip.seconds == 1.5
    assert np.abs(clip.floats).max() == pytest.approx(audio.PEAK, abs=1e-3)


def test_a_splice_begins_as_one_clip_and_ends_as_another(clip: audio.Clip) -> None:
    other = audio.spoken(random.Random(5), 1.0, RATE)
    found = audio.spliced(random.Random(1), clip, other)
    assert np.array_equal(found.samples[:4000], clip.samples[:4000])
    assert np.array_equal(found.samples[-4000:], other.samples[-4000:])


def test_a_shift_keeps_the_length_and_padding_does_not(clip: audio.Clip) -> None:
    late, longer = audio.shifted(random.Random(1), clip), audio.padded(random.Random(1), clip)
    assert len(late.samples) == len(clip.samples)
    assert len(longer.samples) > len(clip.samples)
    moved = round(random.Random(1).uniform(0.003, 0.25) * RATE)
    assert np.array_equal(late.samples[moved:], clip.samples[: len(clip.samples) - moved])


def test_silence_around_a_clip_is_faint_and_never_known_beforehand(clip: audio.Clip) -> None:
    late = [audio.shifted(random.Random(seed), clip).samples[:160] for seed in (2, 3)]
    ends = [part for seed in (2, 3) for part in np.split(audio.padded(random.Random(seed), clip).samples, [160, -160])]
    for first, second in (late, ends[::3], ends[2::3]):
        assert not np.array_equal(first, second)
        assert all(1 < np.abs(silence).max() < 100 for silence in (first, second))


def test_noise_is_as_loud_as_it_should_be(clip: audio.Clip) -> None:
    found = audio.noisy(random.Random(1), clip)
    scale = float(found.floats @ clip.floats / (clip.floats @ clip.floats))
    noise = found.floats - scale * clip.floats
    ratio = 20 * np.log10(scale * np.linalg.norm(clip.floats) / np.linalg.norm(noise))
    assert 4 < ratio < 26


def test_the_wav_file_holds_the_samples(clip: audio.Clip) -> None:
    with wave.open(io.BytesIO(clip.wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert np.array_equal(np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16), clip.samples)
