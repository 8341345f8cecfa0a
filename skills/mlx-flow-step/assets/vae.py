"""The decoder of Wan 2.1's autoencoder for one frame in MLX: latents to pixels, channels last.

A single frame sees only the last slice in time of each causal kernel, so that everything is a convolution of two
dimensions.  Parameters are named as in the published file; `arranged` makes MLX's layout of its kernels.
"""

from dataclasses import dataclass

import mlx.core as mx
from mlx import nn

from network import Activation, silu, through

LEAST = 1e-24


@dataclass(frozen=True, slots=True)
class Decoding:
    """Dimensions: width, multiples of it from fine to coarse, blocks a level, and the latents' mean and deviation."""

    width: int
    multiples: tuple[int, ...]
    blocks: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class ChannelNorm(nn.Module):
    """Unit root mean square over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = mx.ones(channels)

    def __call__(self, values: mx.array) -> mx.array:
        """The values [b, rows, columns, channels], normalised and weighted."""
        return mx.fast.rms_norm(values, self.gamma, LEAST)


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(inward, outward, 3, padding=1), nn.Conv2d(outward, outward, 3, padding=1)
        self.residual = [
            ChannelNorm(inward), Activation(silu), first,
            ChannelNorm(outward), Activation(silu), nn.Identity(), second,
        ]  # fmt: skip
        self.shortcut = nn.Conv2d(inward, outward, 1) if inward != outward else nn.Identity()

    def __call__(self, values: mx.array) -> mx.array:
        """Of the same size."""
        return through(self.residual, values) + self.shortcut(values)


class Looking(nn.Module):
    """Attention of one head over all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.to_qkv, self.proj = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def __call__(self, values: mx.array) -> mx.array:
        """Of the same size."""
        query, key, value = mx.split(self.to_qkv(self.norm(values)).flatten(1, 2)[:, None], 3, -1)
        seen = mx.fast.scaled_dot_product_attention(query, key, value, scale=query.shape[-1] ** -0.5)
        return values + self.proj(seen.reshape(values.shape))


class Larger(nn.Module):
    """Twice the size and half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resample = [nn.Upsample(2, "nearest"), nn.Conv2d(channels, channels // 2, 3, padding=1)]

    def __call__(self, values: mx.array) -> mx.array:
        """From [b, rows, columns, channels] to [b, 2 rows, 2 columns, channels / 2]."""
        return through(self.resample, values)


class Decoder(nn.Module):
    """From the coarsest level to pixels."""

    def __init__(self, shape: Decoding) -> None:
        super().__init__()
        sizes = [shape.width * multiple for multiple in (shape.multiples[-1], *reversed(shape.multiples))]
        self.conv1 = nn.Conv2d(len(shape.mean), sizes[0], 3, padding=1)
        self.middle = [Residual(sizes[0], sizes[0]), Looking(sizes[0]), Residual(sizes[0], sizes[0])]
        levels: list[nn.Module] = []
        for level, outward in enumerate(sizes[1:]):
            inward = sizes[level] // 2 if level else sizes[level]
            levels += [Residual(inward if block == 0 else outward, outward) for block in range(shape.blocks + 1)]
            levels += [Larger(outward)] if level < len(sizes) - 2 else []
        self.upsamples = levels
        self.head = [ChannelNorm(sizes[-1]), Activation(silu), nn.Conv2d(sizes[-1], 3, 3, padding=1)]

    def __call__(self, values: mx.array) -> mx.array:
        """Pixels [b, rows, columns, 3] between -1 and 1, or somewhat beyond."""
        return through([self.conv1, *self.middle, *self.upsamples, *self.head], values)


class Vae(nn.Module):
    """Latents, as the flow draws them, to pixels."""

    def __init__(self, shape: Decoding) -> None:
        super().__init__()
        channels = len(shape.mean)
        self.conv2, self.decoder = nn.Conv2d(channels, channels, 1), Decoder(shape)
        self._mean, self._deviation = mx.array(shape.mean), mx.array(shape.deviation)

    def __call__(self, latent: mx.array) -> mx.array:
        """Pixels [b, rows, columns, 3] between 0 and 1 (fp32) of latents [b, rows, columns, channels]."""
        given = (latent * self._deviation + self._mean).astype(self.conv2.weight.dtype)
        pixels = self.decoder(self.conv2(given)).astype(mx.float32)
        return (mx.clip(pixels, -1, 1) + 1) / 2


def arranged(name: str, tensor: mx.array) -> mx.array:
    """A tensor of the published files as MLX has it: kernels [outward, rows, columns, inward] of two dimensions."""
    if name.endswith("gamma"):
        return tensor.flatten()
    flat = tensor[:, :, -1] if tensor.ndim == 5 else tensor
    return flat.transpose(0, 2, 3, 1) if flat.ndim == 4 else flat
