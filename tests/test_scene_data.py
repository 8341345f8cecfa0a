"""Public data sets of speech and of prompts are read where a path is given, and what is wrong with one is said."""

from __future__ import annotations

import json
import random
import wave
from pathlib import Path

import numpy as np
import pytest

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.image.wire import ImageWire
from pytest_vibeserve.modalities.speech.wire import SpeechRequest, SpeechWire
from pytest_vibeserve.target import load_target
from pytest_vibeserve.workload import Request, Vocabulary

ROOT = Path(__file__).resolve().parents[1]
RATE = 16_000
PARTI = 'Prompt\tCategory\tNote\na "stop" sign by a lake\tArtifacts\t\nthe moon, twice\tWorld\tx\n'


def spoken(model: Path, seed: int = 1, count: int = 10) -> list[SpeechRequest]:
    wire = SpeechWire(load_target(str(ROOT / "targets" / "moonshine_streaming"), "tiny"), Vocabulary(model), 0)
    return [one for one in wire.fresh(random.Random(seed), count) if isinstance(one, SpeechRequest)]


def drawn(model: Path, target: str = "show_o2_h100") -> list[Request]:
    wire = ImageWire(load_target(str(ROOT / "targets" / target), "tiny"), Vocabulary(model))
    return wire.fresh(random.Random(1), 12)


def said(path: Path, tone: float, rate: int = RATE) -> None:
    """Half a second of a tone as a WAV file."""
    samples = (8000 * np.sin(2 * np.pi * tone * np.arange(rate // 2) / rate)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


@pytest.fixture
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two utterances in LibriSpeech's layout: reader, chapter, transcripts beside the audio."""
    chapter = tmp_path / "test-clean" / "1089" / "134686"
    chapter.mkdir(parents=True)
    (chapter / "1089-134686.trans.txt").write_text("1089-134686-0000 HE HOPED\n1089-134686-0001 STUFF IT INTO YOU\n")
    said(chapter / "1089-134686-0000.wav", 440.0)
    said(chapter / "1089-134686-0001.wav", 1320.0)
    monkeypatch.setenv("VIBESERVE_DATA_SPEECH", str(tmp_path / "test-clean"))
    return chapter


def test_clips_of_a_data_set_are_heard_in_every_guise(voices: Path, tmp_path: Path) -> None:
    found = spoken(tmp_path)
    assert {one.kind for one in found} == {"plain", "spliced", "shifted", "padded", "noisy"}
    for one in found:
        waves = np.abs(np.fft.rfft(one.clip.floats))
        loudest = waves.argmax() * RATE / len(one.clip.samples)
        assert min(abs(loudest - tone) for tone in (440.0, 1320.0)) < 15
        assert getattr(one.prompt_ids, "condition", None) is one.clip
    assert all(1.0 <= one.clip.seconds <= 3.3 for one in found)


def test_no_clip_of_a_data_set_is_heard_twice(voices: Path, tmp_path: Path) -> None:
    clips = [one.clip.samples.tobytes() for seed in (1, 2) for one in spoken(tmp_path, seed)]
    assert len(set(clips)) == len(clips)


def test_flac_is_read_as_the_published_set_has_it(voices: Path, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for path in sorted(voices.glob("*.wav")):
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".flac"), samples, rate)
        path.unlink()
    assert all(np.abs(one.clip.samples).max() > 1000 for one in spoken(tmp_path))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("1089-134686-0000 HE HOPED\n1089-134686-0007 GONE\n", r"txt, line 2: there is neither 1089-134686-0007"),
        ("1089-134686-0000\n", r"trans\.txt, line 1: an utterance's name and its words"),
        ("\n", "holds no utterance"),
    ],
)
def test_a_list_of_transcripts_that_is_wrong_is_named_with_its_line(
    text: str, wrong: str, voices: Path, tmp_path: Path
) -> None:
    (voices / "1089-134686.trans.txt").write_text(text)
    with pytest.raises(UsageError, match=wrong):
        spoken(tmp_path)


def test_audio_of_another_rate_or_no_audio_at_all_is_named(voices: Path, tmp_path: Path) -> None:
    for path in sorted(voices.glob("*.wav")):
        said(path, 440.0, rate=8000)
    with pytest.raises(UsageError, match=r"\.wav: 8000 Hz, 1 channels, .* asks for 16000 Hz"):
        spoken(tmp_path)
    for path in sorted(voices.glob("*.wav")):
        path.write_bytes(b"no audio")
    with pytest.raises(UsageError, match=r"\.wav cannot be read"):
        spoken(tmp_path, seed=3)


@pytest.mark.parametrize("target", ["show_o2_h100", "show_o2_macbook"])
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PartiPrompts.tsv", PARTI, {'a "stop" sign by a lake', "the moon, twice"}),
        ("mine.csv", 'id,caption\n1,"a cat, asleep"\n', {"a cat, asleep"}),
        ("mine.jsonl", '{"prompt": "two owls"}\n\n{"prompt": "an oar"}\n', {"two owls", "an oar"}),
        ("captions_val2017.json", json.dumps({"annotations": [{"id": 3, "caption": "A bus. "}]}), {"A bus."}),
    ],
)
def test_prompts_of_a_public_list_are_drawn_with_a_fresh_note(
    target: str, name: str, text: str, words: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text(text)
    monkeypatch.setenv("VIBESERVE_DATA_PROMPTS", str(tmp_path / name))
    found = [one.prompt_text for one in drawn(tmp_path, target)]
    assert {text.rsplit(", number ", 1)[0] for text in found} == words
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("a.tsv", "Text\tCategory\na fox\tx\n", "line 2: no field Prompt or prompt or caption among"),
        ("a.tsv", "Prompt\tNote\na fox\t\n\tx\n", "line 3: field Prompt holds no words"),
        ("a.jsonl", '{"prompt": "a fox"}\n{"prompt"\n', "line 2: no JSON"),
        ("a.jsonl", '{"prompt": "a fox"}\n["a fox"]\n', "line 2: not an object"),
        ("a.json", '{"captions": []}', "no list `annotations`"),
        ("a.json", '{"annotations": [{"caption": 3}]}', r"annotations\[0\]: field caption holds no words: 3"),
        ("a.tsv", "Prompt\n", "holds no prompt"),
        ("a.parquet", "", r"one of \.tsv, \.csv, \.jsonl, \.json"),
    ],
)
def test_a_list_that_is_wrong_is_named_with_line_and_field(
    name: str, text: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text(text)
    monkeypatch.setenv("VIBESERVE_DATA_PROMPTS", str(tmp_path / name))
    with pytest.raises(UsageError, match=wrong):
        drawn(tmp_path)
