"""The model: samples in, transcript out, everything computed from the beginning each time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import MoonshineStreamingForConditionalGeneration

FRAME = 80


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in the first `audio_s` seconds; `finish_reason` is "stop" where the model ended by itself."""

    ids: list[int]
    text: str
    finish_reason: str
    audio_s: float


class Model:
    """Greedy transcripts by Transformers, in the weights' own precision."""

    def __init__(self, folder: Path) -> None:
        """Read weights and tokenizer; on a GPU where there is one."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cpu":
            torch.set_num_threads(1)
        self.net = MoonshineStreamingForConditionalGeneration.from_pretrained(
            folder, dtype="auto", local_files_only=True
        )
        self.net.eval().to(self.device)
        ends = self.net.generation_config.eos_token_id
        self.ends = frozenset([ends] if isinstance(ends, int) else ends)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def transcribe(self, samples: np.ndarray, limit: int) -> Transcript:
        """The transcript of 16 bit samples, at most `limit` tokens long."""
        whole = torch.from_numpy(samples[: len(samples) // FRAME * FRAME].astype(np.float32) / np.float32(32768))[None]
        mask = torch.ones_like(whole, dtype=torch.long).to(self.device)
        values = whole.to(self.device, self.net.dtype)
        with torch.inference_mode():
            found = self.net.generate(
                input_values=values, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=limit
            )
        return self.told(found[0].tolist()[1:], len(samples))

    def told(self, ids: list[int], samples: int) -> Transcript:
        """Ids as a transcript of so many samples."""
        ended = bool(ids) and ids[-1] in self.ends
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return Transcript(ids, text, "stop" if ended else "length", samples / 16_000)
