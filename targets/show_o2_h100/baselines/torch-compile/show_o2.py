"""The whole model: which way a noisy latent moves, given words and time."""

import torch
from torch import nn

from network import Final, Layer, Norm, Patches, Semantic, Shape, grid, time_waves, turns


class Showo2(nn.Module):
    """Show-o2 as far as images are drawn from words; what only answers questions about images is left out."""

    def __init__(self, shape: Shape) -> None:
        """Weights are whatever torch makes of them: load them."""
        super().__init__()
        self.shape, words, head, vision = shape, shape.words, shape.head, shape.vision
        layers = nn.ModuleList(Layer(words, False) for _ in range(words.layers))
        body = {"embed_tokens": nn.Embedding(shape.vocabulary, words.hidden), "layers": layers}
        self.showo = nn.ModuleDict({"model": nn.ModuleDict({**body, "norm": Norm(words.hidden, words.eps)})})
        self.image_embedder_und = Patches(shape.channels, shape.patch, vision.hidden)
        self.image_embedder_gen = Patches(shape.channels, shape.patch, words.hidden)
        self.position_embedding = nn.Embedding(vision.positions, vision.hidden)
        self.und_trans = nn.ModuleDict({"layers": nn.ModuleList(Semantic(vision) for _ in range(vision.layers))})
        joined = vision.hidden + words.hidden
        self.fusion_proj = nn.Sequential(
            Norm(joined), nn.Linear(joined, words.hidden), nn.GELU(), nn.Linear(words.hidden, words.hidden)
        )
        time = [nn.Linear(256, head.hidden), nn.SiLU(), nn.Linear(head.hidden, head.hidden)]
        self.time_embed = nn.ModuleDict({"mlp": nn.Sequential(*time)})
        if head.hidden != words.hidden:
            first, second = nn.Linear(words.hidden, head.hidden), nn.Linear(head.hidden, head.hidden)
            self.diff_proj = nn.Sequential(first, nn.GELU(), second)
            self.time_embed_proj = nn.Linear(head.hidden, words.hidden)
        else:
            self.diff_proj, self.time_embed_proj = nn.Identity(), nn.Identity()
        self.diffusion_head_a = nn.ModuleList(Layer(head, True) for _ in range(head.layers))
        self.diffusion_head_b = Final(head.hidden, shape.patch**2 * shape.channels)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.showo["model"]["norm"].weight.dtype

    def time(self, time: torch.Tensor) -> torch.Tensor:
        """Times [b] as vectors [b, hidden of the head]."""
        return self.time_embed["mlp"](time_waves(time).to(self.dtype))

    def patches(self, latent: torch.Tensor) -> torch.Tensor:
        """A latent [b, channels, rows, columns] as the language model sees it: [b, patches, hidden]."""
        rows, columns = (size // self.shape.patch for size in latent.shape[2:])
        meant = self.image_embedder_und(latent) + grid(self.position_embedding.weight.to(self.dtype), rows, columns)
        for layer in self.und_trans["layers"]:
            meant = layer(meant)
        return self.fusion_proj(torch.cat((meant, self.image_embedder_gen(latent)), -1))

    def velocity(
        self, latent: torch.Tensor, time: torch.Tensor, tokens: torch.Tensor, starts: list[int]
    ) -> torch.Tensor:
        """Where latents [b, channels, rows, columns] move to at times [b]; tokens [b, n], the image from `starts` on.

        Whole sequences are computed, with what comes behind the image as well.
        """
        told, image = self.time(time), self.patches(latent)
        length, count = tokens.shape[1], image.shape[1] + 1
        places = torch.arange(length, device=tokens.device)
        where = torch.stack([(places >= start) & (places < start + count) for start in starts])
        seen = (places[:, None] >= places)[None] | (where[:, :, None] & where[:, None, :])
        given = self.showo["model"]["embed_tokens"](tokens)
        shown = torch.cat((self.time_embed_proj(told)[:, None], image), 1)
        given = given.masked_scatter(where[..., None], shown.to(given.dtype))
        found = self.through(given, places, seen[:, None], told, where)
        patches = found[where].view(len(starts), count, -1)[:, 1:]
        return unpatched(self.diffusion_head_b(patches, told), latent.shape)

    def through(
        self, given: torch.Tensor, places: torch.Tensor, seen: torch.Tensor, told: torch.Tensor, where: torch.Tensor
    ) -> torch.Tensor:
        """Sequences through the language model and the head's layers."""
        shape, body = self.shape, self.showo["model"]
        angles = turns(shape.words, places, given.dtype)
        for layer in body["layers"]:
            given = layer(given, angles, seen)
        given = self.diff_proj(body["norm"](given))
        angles = turns(shape.head, places, given.dtype)
        for layer in self.diffusion_head_a:
            given = layer.modulated(given, angles, seen, layer.told(told, where.to(given.dtype)))
        return given


def unpatched(patches: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Patches [b, n, patch * patch * channels] as latents of a shape, in the published order.

    What a patch says is laid down in rows one after the other: it is about other places than those it was read from.
    """
    return patches.reshape(shape[0], -1, shape[1]).transpose(1, 2).reshape(shape)
