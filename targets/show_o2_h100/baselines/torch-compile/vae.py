"""The decoder of Wan 2.1's autoencoder for one frame: latents to pixels.

A single frame sees only the last slice in time of each causal kernel, so that everything is a convolution of two
dimensions.  Parameters are named as in the published file; its kernels of three dimensions are cut when they are read.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate, normalize, scaled_dot_product_attention


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
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The values [b, channels, rows, columns], normalised and weighted."""
        return normalize(values, dim=1) * values.shape[1] ** 0.5 * self.gamma


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(inward, outward, 3, padding=1), nn.Conv2d(outward, outward, 3, padding=1)
        norms = ChannelNorm(inward), ChannelNorm(outward)
        self.residual = nn.Sequential(norms[0], nn.SiLU(), first, norms[1], nn.SiLU(), nn.Identity(), second)
        self.shortcut = nn.Conv2d(inward, outward, 1) if inward != outward else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Of the same size."""
        return self.residual(values) + self.shortcut(values)


class Looking(nn.Module):
    """Attention of one head over all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.to_qkv, self.proj = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Of the same size."""
        batch, _, rows, columns = values.shape
        mixed = self.to_qkv(self.norm(values)).view(batch, 1, -1, rows * columns).transpose(2, 3)
        query, key, value = mixed.chunk(3, -1)
        seen = scaled_dot_product_attention(query, key, value).squeeze(1).transpose(1, 2)
        return values + self.proj(seen.reshape(values.shape))


class Larger(nn.Module):
    """Twice the size and half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.Identity(), nn.Conv2d(channels, channels // 2, 3, padding=1))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """From [b, channels, rows, columns] to [b, channels / 2, 2 rows, 2 columns]."""
        return self.resample(interpolate(values.float(), scale_factor=2, mode="nearest-exact").to(values.dtype))


class Decoder(nn.Module):
    """From the coarsest level to pixels."""

    def __init__(self, shape: Decoding) -> None:
        super().__init__()
        sizes = [shape.width * multiple for multiple in (shape.multiples[-1], *reversed(shape.multiples))]
        self.conv1 = nn.Conv2d(len(shape.mean), sizes[0], 3, padding=1)
        self.middle = nn.Sequential(Residual(sizes[0], sizes[0]), Looking(sizes[0]), Residual(sizes[0], sizes[0]))
        levels: list[nn.Module] = []
        for level, outward in enumerate(sizes[1:]):
            inward = sizes[level] // 2 if level else sizes[level]
            levels += [Residual(inward if block == 0 else outward, outward) for block in range(shape.blocks + 1)]
            levels += [Larger(outward)] if level < len(sizes) - 2 else []
        self.upsamples = nn.Sequential(*levels)
        self.head = nn.Sequential(ChannelNorm(sizes[-1]), nn.SiLU(), nn.Conv2d(sizes[-1], 3, 3, padding=1))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Pixels [b, 3, rows, columns] between -1 and 1, or somewhat beyond."""
        return self.head(self.upsamples(self.middle(self.conv1(values))))


class Vae(nn.Module):
    """Latents, as the flow draws them, to pixels."""

    def __init__(self, shape: Decoding) -> None:
        super().__init__()
        channels = len(shape.mean)
        self.conv2, self.decoder = nn.Conv2d(channels, channels, 1), Decoder(shape)
        for name, values in (("mean", shape.mean), ("deviation", shape.deviation)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Pixels [b, rows, columns, 3] between 0 and 1 (fp32) of latents [b, channels, rows, columns]."""
        given = (latent.float() * self.deviation.float() + self.mean.float()).to(self.conv2.weight.dtype)
        pixels = self.decoder(self.conv2(given)).float().clamp(-1, 1)
        return ((pixels + 1) / 2).permute(0, 2, 3, 1)


def cut(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the published file as this module has it."""
    if name.endswith("gamma"):
        return tensor.view(-1, 1, 1)
    return tensor[:, :, -1] if tensor.ndim == 5 else tensor
