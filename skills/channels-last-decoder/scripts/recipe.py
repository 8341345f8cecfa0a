"""Let the decoder of an image's latents keep each place's channels together in memory, and normalise them there."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

VAE = {
    "from torch.nn.functional import interpolate, normalize, scaled_dot_product_attention\n": (
        "from torch.nn.functional import interpolate, scaled_dot_product_attention\n"
    ),
    """        return normalize(values, dim=1) * values.shape[1] ** 0.5 * self.gamma
""": """        # In memory a place's channels lie together: seen as the last dimension, they are summed in one pass.
        placed = values.permute(0, 2, 3, 1)
        wide = placed.float()
        unit = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + LEAST)
        return (unit.to(values.dtype) * self.gamma.flatten()).permute(0, 3, 1, 2)
""",
    """class ChannelNorm(nn.Module):
""": """LEAST = 1e-24


class ChannelNorm(nn.Module):
""",
    """        pixels = self.decoder(self.conv2(given)).float().clamp(-1, 1)
""": """        given = given.to(memory_format=torch.channels_last)
        pixels = self.decoder(self.conv2(given)).float().clamp(-1, 1)
""",
}
PAINTER = {
    "        return painter.eval()\n": (
        "        painter.vae = painter.vae.to(memory_format=torch.channels_last)\n        return painter.eval()\n"
    ),
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"channels-last-decoder: {reason}", file=sys.stderr)
    sys.exit(3)


def edited(path: Path, changes: dict[str, str]) -> str:
    """Return the text of a file with each piece replaced; every piece must be there exactly once."""
    if not path.is_file():
        refuse(f"there is no {path.name}")
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        if text.count(old) != 1:
            refuse(f"{path.name} does not hold exactly once: {old.strip().splitlines()[0]}")
        text = text.replace(old, new)
    return text


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    workspace = parser.parse_args().workspace
    texts = {name: edited(workspace / name, changes) for name, changes in (("vae.py", VAE), ("painter.py", PAINTER))}
    for name, text in texts.items():
        (workspace / name).write_text(text, encoding="utf-8")
    print("vae.py, painter.py: the decoder's channels lie together, and are normalised in one pass")


if __name__ == "__main__":
    main()
