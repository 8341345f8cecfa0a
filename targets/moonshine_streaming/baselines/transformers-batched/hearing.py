"""The model: all audio that waits as one padded batch of Transformers, computed from the beginning each time."""

from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Memory:
    """All samples of one stream."""

    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))


class Model:
    """Greedy transcripts by Transformers, in the weights' own precision."""

    def __init__(self, folder: Path) -> None:
        """Read weights and tokenizer; on a GPU where there is one."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cpu":
            torch.set_num_threads(1)
        net = MoonshineStreamingForConditionalGeneration.from_pretrained(folder, dtype="auto", local_files_only=True)
        self.net = net.eval().to(self.device)
        ends = self.net.generation_config.eos_token_id
        self.ends = frozenset([ends] if isinstance(ends, int) else ends)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def begin(self) -> Memory:
        """The memory of a stream that has said nothing."""
        return Memory()

    def hear(self, memory: Memory, samples: np.ndarray) -> None:
        """Take more 16 bit samples into a memory."""
        memory.samples = np.concatenate((memory.samples, samples))

    def transcripts(self, memories: list[Memory], limits: list[int]) -> list[Transcript]:
        """A transcript of each memory, all in one batch."""
        lengths = [len(memory.samples) // FRAME * FRAME for memory in memories]
        values = torch.zeros(len(memories), max(lengths))
        mask = torch.zeros(len(memories), max(lengths), dtype=torch.long)
        for row, (memory, length) in enumerate(zip(memories, lengths, strict=True)):
            values[row, :length] = torch.from_numpy(memory.samples[:length].astype(np.float32) / np.float32(32768))
            mask[row, :length] = 1
        with torch.inference_mode():
            found = self.net.generate(
                input_values=values.to(self.device, self.net.dtype), attention_mask=mask.to(self.device),
                do_sample=False, num_beams=1, max_new_tokens=max(limits),
            )  # fmt: skip
        rows = zip(found.tolist(), limits, memories, strict=True)
        return [self._told(row[1:], limit, len(memory.samples)) for row, limit, memory in rows]

    def _told(self, ids: list[int], limit: int, samples: int) -> Transcript:
        """A row of the batch as a transcript: without what stands behind its end, or beyond its limit."""
        place = next((place for place, token in enumerate(ids) if token in self.ends), len(ids))
        kept = ids[: min(place + 1, limit)]
        ended = bool(kept) and kept[-1] in self.ends
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        return Transcript(kept, text, "stop" if ended else "length", samples / 16_000)
