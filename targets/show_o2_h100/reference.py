"""The reference of the Show-o2 targets: the plain implementation in fp32, random weights, and the published files.

No library has this model: `starter/` holds the architecture as published, and what is served first is what judges.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from pytest_vibeserve.widening import is_large, widened

STARTER = Path(__file__).resolve().parent / "starter"
SHARED_BYTES = 10**9
"""Weights of more bytes than this are held once for both precisions."""

_given: WeakValueDictionary[Path, Any] = WeakValueDictionary()
CORPUS_BYTES_PER_FILE = 20_000
BEGIN, IMAGE, PAD = "<|im_start|>", "<|vision_start|>", "[PAD]"
LONGEST_PROMPT = 290
HEAD = {
    "hidden": 2048, "heads": 32, "kv_heads": 8, "head_dim": 64, "intermediate": 8192, "rope": 500_000.0, "eps": 1e-5,
}  # fmt: skip
WAN = {
    "width": 96, "multiples": [1, 2, 4, 4], "blocks": 2,
    "mean": [
        -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
        0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
    ],
    "deviation": [
        2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
        3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
    ],
}  # fmt: skip


def _painter() -> Any:
    """The starter's module `painter`; a process that served another folder's modules of these names is not this one."""
    if str(STARTER) not in sys.path:
        sys.path.insert(0, str(STARTER))
    import painter

    return painter


def load(folder: Path, dtype: str, attention: str, limit: int = SHARED_BYTES) -> torch.nn.Module:
    """The model in evaluation mode, computing in `dtype`; `eager` attention forms the matrix of weights.

    With more than `limit` bytes of weights float32 is computed from the bfloat16 ones, which both precisions share;
    the decoder is small and is read in each.
    """
    if not is_large(folder, limit):
        model: torch.nn.Module = _painter().Painter.load(folder, getattr(torch, dtype))
    else:
        given = _given.get(folder)
        if given is None:
            given = _given[folder] = _painter().Painter.load(folder, torch.bfloat16)
        model = _wide(folder, given) if dtype == "float32" else given
    attend(model, attention)
    return model


def attend(model: torch.nn.Module, attention: str) -> None:
    """Let a loaded model attend as `eager` attention does, or by torch's own."""
    for module in model.modules():
        if hasattr(module, "eager"):
            module.eager = attention == "eager"


def _wide(folder: Path, given: torch.nn.Module) -> torch.nn.Module:
    """A twin of the model in bfloat16 that computes in float32, with the decoder as its file has it."""
    twin = widened(given)
    from vae import cut

    twin.vae = copy.deepcopy(given.vae).float()
    stored = load_file(folder / "vae.safetensors")
    twin.vae.load_state_dict({name: cut(name, stored[name]).float() for name in twin.vae.state_dict()})
    return twin


def generate(model: Any, prompt: str, noise: np.ndarray, settings: Any) -> np.ndarray:
    """Pixels [height, width, 3] between 0 and 1; latents of an odd size get another row and column, cut off again."""
    odd = [(0, 0), *((0, size % 2) for size in noise.shape[1:])]
    pixels: np.ndarray = model.paint(prompt, np.pad(noise, odd, mode="edge"), settings.steps, settings.guidance)
    return pixels[: settings.height, : settings.width]


def build(
    folder: Path, *, seed: int, vocabulary: int, channels: int, llm: str, head: str, vision: str, vae: str,
    longest: int, sources: str = "",
) -> None:  # fmt: skip
    """Write random weights of a shape: `llm`, `head`, `vision` and `vae` are JSON, as in the folder's config.json.

    Nothing is fetched from `sources`.
    """
    decoding = json.loads(vae)
    decoding |= {name: WAN[name][:channels] for name in ("mean", "deviation")}
    tokenizer = _trained(vocabulary)
    _write(folder, tokenizer, {
        "vocabulary": vocabulary, "channels": channels, "patch": 2, "llm": json.loads(llm), "head": json.loads(head),
        "vision": json.loads(vision), "vae": decoding, "words": _words(tokenizer, longest),
    })  # fmt: skip
    with torch.device("meta"):
        painter = _painter().Painter(folder)
    generator = torch.Generator().manual_seed(seed)
    for name, part in (("model", painter.flow), ("vae", painter.vae)):
        drawn = {key: _drawn(key, value, generator) for key, value in part.state_dict().items()}
        save_file(drawn, folder / f"{name}.safetensors", metadata={"format": "pt"})


def fetch(folder: Path, *, sources: str) -> None:
    """Fetch the published files and write them as one folder; `sources` are three of repository@revision.

    They hold Show-o2 itself, its language model's config and tokenizer, and Wan 2.1's autoencoder.
    """
    from huggingface_hub import snapshot_download

    kept = (["*.json", "*.bin", "*.safetensors"], ["config.json", "tokenizer*.json"], ["Wan2.1_VAE.pth"])
    flow, words, pixels = (
        Path(snapshot_download(*source.split("@")[:1], revision=source.split("@")[1], allow_patterns=patterns))
        for source, patterns in zip(sources.split(), kept, strict=True)
    )
    assemble(folder, flow, words, pixels / "Wan2.1_VAE.pth")
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = (source.split("@")[0] for source in sources.split())
    # The last part of a snapshot's path is the commit that its revision stood for.
    stated["sources"] = [f"{name}@{part.name}" for name, part in zip(names, (flow, words, pixels), strict=True)]
    (folder / "config.json").write_text(json.dumps(stated, indent=1), encoding="utf-8")


def assemble(folder: Path, flow: Path, words: Path, vae: Path) -> None:
    """One folder of the published files: Show-o2's, those of its language model, and Wan 2.1's autoencoder."""
    stated = json.loads((flow / "config.json").read_text(encoding="utf-8"))
    language = json.loads((words / "config.json").read_text(encoding="utf-8"))
    weights = _published(flow)
    tokenizer = Tokenizer.from_file(str(words / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(PAD, special=True)])
    vocabulary, hidden = weights["showo.model.embed_tokens.weight"].shape
    vision = weights["position_embedding.weight"]
    fc1 = weights["und_trans.layers.0.mlp.fc1.weight"]
    heads = stated.get("clip_heads", 16)
    head = HEAD | {key: value for key, value in stated.get("head", {}).items() if key in HEAD}
    _write(folder, tokenizer, {
        "vocabulary": vocabulary, "channels": stated["image_latent_dim"], "patch": stated["patch_size"],
        "llm": {
            "hidden": hidden, "layers": language["num_hidden_layers"], "heads": language["num_attention_heads"],
            "kv_heads": language["num_key_value_heads"], "head_dim": hidden // language["num_attention_heads"],
            "intermediate": language["intermediate_size"], "rope": language["rope_theta"],
            "eps": language["rms_norm_eps"],
        },
        "head": head | {"layers": stated["num_diffusion_layers"]},
        "vision": {
            "hidden": vision.shape[1], "layers": _count(weights, "und_trans.layers"), "heads": heads,
            "intermediate": fc1.shape[0], "positions": vision.shape[0],
        },
        "vae": WAN | stated.get("vae", {}), "words": _words(tokenizer, LONGEST_PROMPT),
    })  # fmt: skip
    with torch.device("meta"):
        painter = _painter().Painter(folder)
    kept = {name: weights[name].to(torch.bfloat16).contiguous() for name in painter.flow.state_dict()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    pixels = torch.load(vae, map_location="cpu", weights_only=True)
    decoder = {name: pixels[name].contiguous() for name in painter.vae.state_dict()}
    save_file(decoder, folder / "vae.safetensors", metadata={"format": "pt"})


def _published(flow: Path) -> Mapping[str, torch.Tensor]:
    """All weights of a repository, in however many files."""
    readers: dict[str, Callable[[Path], dict[str, torch.Tensor]]] = {
        "*.safetensors": load_file,
        "*.bin": lambda path: torch.load(path, map_location="cpu", weights_only=True),
    }
    for pattern, read in readers.items():
        found: dict[str, torch.Tensor] = {}
        for path in sorted(flow.glob(pattern)):
            found |= read(path)
        if found:
            return found
    raise FileNotFoundError(f"{flow} holds neither .safetensors nor .bin files")


def _count(weights: Mapping[str, torch.Tensor], stack: str) -> int:
    return 1 + max(int(name[len(stack) + 1 :].split(".")[0]) for name in weights if name.startswith(f"{stack}."))


def _words(tokenizer: Tokenizer, longest: int) -> dict[str, int]:
    ids = {name: tokenizer.token_to_id(token) for name, token in (("begin", BEGIN), ("image", IMAGE), ("pad", PAD))}
    return {**ids, "longest": longest}


def _write(folder: Path, tokenizer: Tokenizer, stated: dict[str, Any]) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    whole = {"model_type": "show_o2", **stated}
    (folder / "config.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")


def _drawn(name: str, like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random tensor of that name and shape: sharp attention, modulations that show, unit scales."""
    if name.endswith(("norm.weight", "gamma", "layernorm.weight", "norm1.weight", "norm2.weight", "norm_final.weight")):
        return torch.ones(like.shape, dtype=torch.bfloat16)
    if like.ndim == 1:
        return (
            torch.zeros(like.shape, dtype=torch.bfloat16)
            if name.endswith("bias")
            else torch.ones(like.shape, dtype=torch.bfloat16)
        )
    root = math.sqrt(like.shape[-1])
    gains = {"embed_tokens": root, "position_emb": root, "q_proj": 1.5, "k_proj": 1.5, "adaLN": 1.5, "head.2": 2.0}
    gain = next((gain for part, gain in gains.items() if part in name), 1.0)
    deviation = gain / math.sqrt(math.prod(like.shape[1:]))
    return (torch.randn(like.shape, generator=generator) * deviation).to(torch.bfloat16)


def _trained(vocabulary: int) -> Tokenizer:
    """A byte-level BPE over the standard library's own modules, with the published special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, 8192), special_tokens=[BEGIN, IMAGE, PAD], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    tokenizer.train_from_iterator((path.read_text(encoding="utf-8")[:CORPUS_BYTES_PER_FILE] for path in files), trainer)
    return tokenizer
