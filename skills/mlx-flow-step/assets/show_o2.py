"""The whole model in MLX: which way a noisy latent moves, given words and time."""

from collections.abc import Callable

import mlx.core as mx
from mlx import nn

from network import Activation, Layer, Pair, Semantic, Shape, gelu, grid, moved, silu, through, time_waves

ROUND = 32
"""Words are padded to a multiple of so many places, so that a compiled step sees few shapes."""

Moment = tuple[mx.array, list[mx.array], mx.array]
"""What one time says whatever the latent: its place's vector, and how the head's layers and its last are modulated."""
Memory = tuple[list[Pair], mx.array, mx.array]
"""Keys and values of each layer's words, [with words, without]; where the image begins in each; what it sees."""


class Patches(nn.Module):
    """Patches of a latent as vectors."""

    def __init__(self, channels: int, patch: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, hidden, patch, stride=patch)

    def __call__(self, latent: mx.array) -> mx.array:
        """From [b, rows, columns, channels] to [b, patches, hidden]."""
        return self.proj(latent).flatten(1, 2)


class Final(nn.Module):
    """The head's last layer: places to the numbers of their patch."""

    def __init__(self, hidden: int, numbers: int) -> None:
        super().__init__()
        self.norm_final, self.linear = nn.RMSNorm(hidden, eps=1e-6), nn.Linear(hidden, numbers)
        self.adaLN_modulation = [Activation(silu), nn.Linear(hidden, 2 * hidden)]

    def __call__(self, given: mx.array, told: mx.array) -> mx.array:
        """Patches only, with shift and scale [1, 1, 2 * hidden]."""
        shift, scale = mx.split(told, 2, -1)
        return self.linear(moved(self.norm_final(given), shift, scale))


class Showo2(nn.Module):
    """Show-o2 as far as images are drawn from words; what only answers questions about images is left out."""

    def __init__(self, shape: Shape) -> None:
        """Weights are whatever MLX makes of them: load them."""
        super().__init__()
        self._shape, words, head, vision = shape, shape.words, shape.head, shape.vision
        layers = [Layer(words, False) for _ in range(words.layers)]
        body = {"embed_tokens": nn.Embedding(shape.vocabulary, words.hidden), "layers": layers}
        self.showo = {"model": {**body, "norm": nn.RMSNorm(words.hidden, eps=words.eps)}}
        self.image_embedder_und = Patches(shape.channels, shape.patch, vision.hidden)
        self.image_embedder_gen = Patches(shape.channels, shape.patch, words.hidden)
        self.position_embedding = nn.Embedding(vision.positions, vision.hidden)
        self.und_trans = {"layers": [Semantic(vision) for _ in range(vision.layers)]}
        joined = vision.hidden + words.hidden
        self.fusion_proj = [nn.RMSNorm(joined, eps=1e-6), *_doubled(joined, words.hidden, gelu)]
        self.time_embed = {"mlp": _doubled(256, head.hidden, silu)}
        same = head.hidden == words.hidden
        self.diff_proj = [] if same else _doubled(words.hidden, head.hidden, gelu)
        self.time_embed_proj = nn.Identity() if same else nn.Linear(head.hidden, words.hidden)
        self.diffusion_head_a = [Layer(head, True) for _ in range(head.layers)]
        self.diffusion_head_b = Final(head.hidden, shape.patch**2 * shape.channels)

    @property
    def dtype(self) -> mx.Dtype:
        """What it computes in."""
        return self.position_embedding.weight.dtype

    def memory(self, rows: list[list[int]], count: int) -> Memory:
        """Read what stands before the image in each row; `count` places of time and image will follow."""
        lengths = [len(row) for row in rows]
        room = -(-max(lengths) // ROUND) * ROUND
        padded = mx.array([row + [row[-1]] * (room - len(row)) for row in rows])
        starts = mx.array(lengths)
        inside = mx.concatenate((mx.arange(room) < starts[:, None], mx.ones((len(rows), count), mx.bool_)), 1)
        return self._read(padded), starts, inside[:, None, None]

    def _read(self, tokens: mx.array) -> list[Pair]:
        """Words through all layers; of the last one only keys and values, since nobody reads what it makes of words."""
        body, pairs = self.showo["model"], []
        given = body["embed_tokens"](tokens)
        for layer in body["layers"]:
            given, pair = layer.read(given)
            pairs.append(pair)
        given = through(self.diff_proj, body["norm"](given))
        for layer in self.diffusion_head_a[:-1]:
            given, pair = layer.read(given)
            pairs.append(pair)
        return [*pairs, self.diffusion_head_a[-1].kept(given)]

    def moments(self, times: mx.array) -> list[Moment]:
        """All times [n] of an image at once: the weights of the modulations are read once for all steps."""
        told = through(self.time_embed["mlp"], time_waves(times).astype(self.dtype))
        shown, final = self.time_embed_proj(told), through(self.diffusion_head_b.adaLN_modulation, told)
        layers = [through(layer.adaLN_modulation, told) for layer in self.diffusion_head_a]
        return [
            (shown[i : i + 1, None], [rows[i : i + 1, None] for rows in layers], final[i : i + 1, None])
            for i in range(len(times))
        ]

    def patches(self, latent: mx.array) -> mx.array:
        """A latent [b, rows, columns, channels] as the language model sees it: [b, patches, hidden]."""
        rows, columns = (size // self._shape.patch for size in latent.shape[1:3])
        meant = self.image_embedder_und(latent) + grid(self.position_embedding.weight, rows, columns)
        meant = through(self.und_trans["layers"], meant)
        return through(self.fusion_proj, mx.concatenate((meant, self.image_embedder_gen(latent)), -1))

    def velocity(self, latent: mx.array, moment: Moment, memory: Memory) -> mx.array:
        """Where one latent [1, rows, columns, channels] moves to at a time: [2, ...], with words and without.

        What a patch says is laid down in rows one after the other: it is about other places than it was read from.
        """
        (shown, modulations, final), (pairs, starts, seen) = moment, memory
        body, head = self.showo["model"], self.diffusion_head_a
        given = mx.concatenate((shown, self.patches(latent)), 1)
        given = mx.broadcast_to(given, (2, *given.shape[1:]))
        left = iter(pairs)
        for layer in body["layers"]:
            given = layer.shown(given, next(left), starts, seen)
        given = through(self.diff_proj, body["norm"](given))
        for index, (layer, told) in enumerate(zip(head, modulations, strict=True)):
            # The place of the time is read by the others in every layer, and by nobody after the last one.
            given = layer.modulated(given, told, (next(left), starts, seen), int(index == len(head) - 1))
        return self.diffusion_head_b(given, final).reshape(2, *latent.shape[1:])

    def moved(self, latent: mx.array, pace: mx.array, guidance: mx.array, moment: Moment, memory: Memory) -> mx.array:
        """The latent (fp32) after one of Euler's steps of a length `pace` in time."""
        told = self.velocity(latent.astype(self.dtype), moment, memory).astype(mx.float32)
        return latent + pace * (told[1:] + guidance * (told[:1] - told[1:]))


def _doubled(inward: int, outward: int, between: Callable[[mx.array], mx.array]) -> list[nn.Module]:
    return [nn.Linear(inward, outward), Activation(between), nn.Linear(outward, outward)]
