"""The model, hearing as it goes: what later audio cannot change is computed once; transcripts are written together."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.functional import conv1d, pad, scaled_dot_product_attention, silu
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
    """What one stream has said so far.

    `tails` are inputs of the two convolutions that later outputs still need.  Of each encoder layer, `kept` are its
    final inputs from some place on, `first` is that place and `done` how many of its outputs are final.  `keys` and
    `values` [decoder layers, heads, n, size] of the cross attention are final up to `settled` and provisional behind.
    """

    samples: np.ndarray
    heard: int
    tails: list[torch.Tensor]
    kept: list[torch.Tensor]
    first: list[int]
    done: list[int]
    length: int = 0
    settled: int = 0
    keys: torch.Tensor | None = None
    values: torch.Tensor | None = None


class Model:
    """Greedy transcripts in the weights' own precision; the layers are Transformers', the way through them is not."""

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
        self._encoder, self._decoder = self.net.model.encoder, self.net.model.decoder
        self._windows = [tuple(window) for window in self.net.config.encoder_config.sliding_windows]

    def transcribe(self, samples: np.ndarray, limit: int) -> Transcript:
        """The transcript of a whole clip of 16 bit samples, at most `limit` tokens long."""
        memory = self.begin()
        self.hear(memory, samples)
        return self.transcripts([memory], [limit])[0]

    def begin(self) -> Memory:
        """The memory of a stream that has said nothing."""
        embedder, layers = self._encoder.embedder, len(self._windows)
        tails = [
            torch.zeros(conv.in_channels, conv.left_pad, dtype=self.net.dtype, device=self.device)
            for conv in (embedder.conv1, embedder.conv2)
        ]
        kept = torch.zeros(0, embedder.conv2.out_channels, dtype=self.net.dtype, device=self.device)
        return Memory(np.zeros(0, np.int16), 0, tails, [kept] * layers, [0] * layers, [0] * layers)

    @torch.inference_mode()
    def hear(self, memory: Memory, samples: np.ndarray) -> None:
        """Take more 16 bit samples into a memory."""
        memory.heard += len(samples)
        waiting = np.concatenate((memory.samples, samples))
        whole = len(waiting) // FRAME * FRAME
        memory.samples = waiting[whole:]
        if not whole:
            return
        floats = torch.from_numpy(waiting[:whole].astype(np.float32) / np.float32(32768))
        fresh = self._front(memory, floats.to(self.device, self.net.dtype).view(-1, FRAME))
        memory.length += len(fresh)
        if not memory.length:
            return
        given = fresh
        for index, layer in enumerate(self._encoder.layers):
            given = self._through(memory, index, layer, given)
        self._remember(memory, self._encoder.final_norm(given))

    def _front(self, memory: Memory, frames: torch.Tensor) -> torch.Tensor:
        """Frames [n, FRAME] to encoder inputs [m, hidden]: all that the convolutions, looking back, now give."""
        embedder = self._encoder.embedder
        given = silu(embedder.linear(embedder.comp(embedder.cmvn(frames)))).T
        given = silu(_convolved(memory, 0, embedder.conv1, given))
        return _convolved(memory, 1, embedder.conv2, given).T

    def _through(self, memory: Memory, index: int, layer: torch.nn.Module, fresh: torch.Tensor) -> torch.Tensor:
        """Outputs of one layer from its first that is not final; `fresh` are its inputs behind the kept ones."""
        left, right = self._windows[index]
        given = torch.cat((memory.kept[index], fresh))
        first, done = memory.first[index], memory.done[index]
        found = _attended(layer, given, done - first, left, right)
        # What this layer gives is final where all that its window sees is.
        below = memory.done[index - 1] if index else memory.length
        memory.done[index] = max(0, below - max(0, right - 1))
        start = max(0, memory.done[index] - left + 1)
        memory.kept[index], memory.first[index] = given[start - first : below - first], start
        return found

    def _remember(self, memory: Memory, encoded: torch.Tensor) -> None:
        """Keys and values for the decoder: settled ones are kept, the others stand behind them until more is heard."""
        places = torch.arange(memory.settled, memory.length, device=self.device)
        given = self._decoder.proj(encoded + self._decoder.pos_emb(places))
        attends = [layer.encoder_attn for layer in self._decoder.layers]
        shape = (len(given), -1, attends[0].head_dim)
        keys = torch.stack([one.k_proj(given).view(shape).transpose(0, 1) for one in attends])
        values = torch.stack([one.v_proj(given).view(shape).transpose(0, 1) for one in attends])
        if memory.keys is not None and memory.values is not None:
            keys = torch.cat((memory.keys[:, :, : memory.settled], keys), 2)
            values = torch.cat((memory.values[:, :, : memory.settled], values), 2)
        memory.keys, memory.values, memory.settled = keys, values, memory.done[-1]

    @torch.inference_mode()
    def transcripts(self, memories: list[Memory], limits: list[int]) -> list[Transcript]:
        """A transcript of each memory, all written at the same time, from the beginning."""
        longest = max(memory.length for memory in memories)
        keys, values = (
            torch.stack([pad(part, (0, 0, 0, longest - part.shape[2])) for part in parts]).transpose(0, 1)
            for parts in ([m.keys for m in memories], [m.values for m in memories])
        )
        lengths = torch.tensor([memory.length for memory in memories], device=self.device)
        seen = (torch.arange(longest, device=self.device) < lengths[:, None])[:, None, None]
        written: list[list[int]] = [[] for _ in memories]
        writer = _Writer(self._decoder, len(memories), max(limits))
        tokens = torch.full((len(memories),), self.net.config.decoder_start_token_id, device=self.device)
        for _ in range(max(limits)):
            tokens = self.net.proj_out(writer.step(tokens, keys, values, seen)).argmax(-1)
            for ids, limit, token in zip(written, limits, tokens.tolist(), strict=True):
                if len(ids) < limit and not (ids and ids[-1] in self.ends):
                    ids.append(token)
            if all(len(ids) == limit or ids[-1] in self.ends for ids, limit in zip(written, limits, strict=True)):
                break
        return [self.told(ids, memory.heard) for ids, memory in zip(written, memories, strict=True)]

    def told(self, ids: list[int], samples: int) -> Transcript:
        """Ids as a transcript of so many samples."""
        ended = bool(ids) and ids[-1] in self.ends
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return Transcript(ids, text, "stop" if ended else "length", samples / 16_000)


class _Writer:
    """The decoder, a token a step for several transcripts; its own keys and values grow with them."""

    def __init__(self, decoder: torch.nn.Module, count: int, limit: int) -> None:
        self._decoder, self._place = decoder, 0
        attend, weight = decoder.layers[0].self_attn, decoder.embed_tokens.weight
        size = (len(decoder.layers), count, attend.config.num_key_value_heads, limit, attend.head_dim)
        self._keys, self._values = (torch.zeros(size, dtype=weight.dtype, device=weight.device) for _ in range(2))
        turns = decoder.rotary_emb(weight, torch.arange(limit, device=weight.device)[None])
        self._cosines, self._sines = (part[0, :, : part.shape[-1] // 2].repeat_interleave(2, -1) for part in turns)

    def step(self, tokens: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Tokens [b] to the normalised states [b, hidden] that the next ones are chosen from."""
        given = self._decoder.embed_tokens(tokens)
        for index, layer in enumerate(self._decoder.layers):
            given = given + self._itself(index, layer.self_attn, layer.input_layernorm(given))
            attend, normal = layer.encoder_attn, layer.post_attention_layernorm(given)
            query = attend.q_proj(normal).view(len(given), -1, 1, attend.head_dim)
            mixed = scaled_dot_product_attention(query, keys[index], values[index], attn_mask=seen)
            given = given + attend.o_proj(mixed.reshape(len(given), -1))
            given = given + layer.mlp(layer.final_layernorm(given))
        self._place += 1
        return self._decoder.norm(given)

    def _itself(self, index: int, attend: torch.nn.Module, normal: torch.Tensor) -> torch.Tensor:
        shape = (len(normal), -1, 1, attend.head_dim)
        query, key = (self._turned(part(normal).view(shape)) for part in (attend.q_proj, attend.k_proj))
        here = self._place
        self._keys[index, :, :, here] = key[:, :, 0]
        self._values[index, :, :, here] = attend.v_proj(normal).view(shape)[:, :, 0]
        upto = here + 1
        mixed = scaled_dot_product_attention(query, self._keys[index, :, :, :upto], self._values[index, :, :, :upto])
        return attend.o_proj(mixed.reshape(len(normal), -1))

    def _turned(self, values: torch.Tensor) -> torch.Tensor:
        """Neighbouring numbers, turned by the angle of the place; the last ones of a head are not."""
        cosines, sines = self._cosines[self._place], self._sines[self._place]
        turned, rest = values[..., : len(cosines)], values[..., len(cosines) :]
        crossed = torch.stack((-turned[..., 1::2], turned[..., ::2]), -1).flatten(-2)
        return torch.cat((turned * cosines + crossed * sines, rest), -1)


def _convolved(memory: Memory, index: int, conv: torch.nn.Conv1d, fresh: torch.Tensor) -> torch.Tensor:
    """Outputs [channels, m] of a convolution that looks back, over what was left and fresh inputs [channels, n]."""
    given = torch.cat((memory.tails[index], fresh), 1)
    stride, count = conv.stride[0], max(0, (given.shape[1] - conv.kernel_size[0]) // conv.stride[0] + 1)
    memory.tails[index] = given[:, stride * count :]
    if not count:
        return given.new_zeros(conv.out_channels, 0)
    return conv1d(given[None], conv.weight, conv.bias, stride)[0]


def _attended(layer: torch.nn.Module, given: torch.Tensor, start: int, left: int, right: int) -> torch.Tensor:
    """An encoder layer's outputs [n - start, hidden] of its inputs [n, hidden], each seeing through its window."""
    attend, normal = layer.self_attn, layer.input_layernorm(given)
    shape = (1, -1, attend.config.num_attention_heads, attend.head_dim)
    query = attend.q_proj(normal[start:]).view(shape).transpose(1, 2)
    key, value = (part(normal).view(shape).transpose(1, 2) for part in (attend.k_proj, attend.v_proj))
    places = torch.arange(len(given), device=given.device)
    back = places[start:, None] - places
    seen = ((back >= 0) & (back < left)) | ((back < 0) & (-back < right))
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=seen)
    found = given[start:] + attend.o_proj(mixed.transpose(1, 2).reshape(len(given) - start, -1))
    return found + layer.mlp(layer.post_attention_layernorm(found))
