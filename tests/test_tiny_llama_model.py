"""The model of tiny_llama: the same seed makes the same files, and they are what the target says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

SMALL = {
    "hidden": 64,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 16,
    "intermediate": 128,
    "vocabulary": 512,
    "context": 1024,
}


@pytest.fixture(scope="module")
def builder(root: Path) -> ModuleType:
    """The target's reference.py."""
    spec = importlib.util.spec_from_file_location("tiny_llama_reference", root / "targets/tiny_llama/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest model, made from seed 7."""
    folder = tmp_path_factory.mktemp("model")
    builder.build(folder, seed=7, **SMALL)
    return folder


def test_the_same_seed_makes_the_same_bytes(builder: ModuleType, model: Path, tmp_path: Path) -> None:
    builder.build(tmp_path, seed=7, **SMALL)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }


def test_another_seed_makes_other_weights_and_the_same_tokenizer(
    builder: ModuleType, model: Path, tmp_path: Path
) -> None:
    builder.build(tmp_path, seed=8, **SMALL)
    assert (tmp_path / "model.safetensors").read_bytes() != (model / "model.safetensors").read_bytes()
    assert (tmp_path / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()


def test_any_user_can_read_the_files(model: Path) -> None:
    names = {path.name for path in model.iterdir()}
    assert names >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in model.iterdir())


def test_the_tokenizer_begins_with_its_start_token_and_gives_text_back(model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    text = "def café():\n    return '日本 🙂'\n"
    ids = tokenizer.encode(text).ids
    assert tokenizer.get_vocab_size() == SMALL["vocabulary"]
    assert (ids[0], tokenizer.token_to_id("</s>")) == (0, 1)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_weights_have_the_spread_of_the_sharpened_initialisation(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    layer = "model.layers.0"
    expected = {
        "model.embed_tokens.weight": 1.0,
        f"{layer}.self_attn.q_proj.weight": 1.5 / 8,
        f"{layer}.self_attn.v_proj.weight": 1.0 / 8,
        f"{layer}.mlp.down_proj.weight": 1.0 / 128**0.5,
        "lm_head.weight": 2.5 / 8,
    }
    for name, spread in expected.items():
        assert float(weights[name].float().std()) == pytest.approx(spread, rel=0.05)


def test_transformers_loads_the_weights_as_given_in_any_precision(builder: ModuleType, model: Path) -> None:
    narrow = builder.load(model, "bfloat16", "sdpa")
    wide = builder.load(model, "float32", "eager")
    assert not wide.training
    assert wide.dtype == torch.float32
    given, used = narrow.state_dict(), wide.state_dict()
    assert all(torch.equal(given[name].float(), used[name]) for name in given)


def test_a_wrong_position_is_visible_in_the_logits(builder: ModuleType, model: Path) -> None:
    wide = builder.load(model, "float32", "eager")
    prompt = torch.tensor([list(range(2, 50))])
    shifted = torch.cat((torch.arange(24), torch.arange(25, 49))).unsqueeze(0)
    with torch.inference_mode():
        right = wide(prompt).logits[0, -1].log_softmax(-1)
        wrong = wide(prompt, position_ids=shifted).logits[0, -1].log_softmax(-1)
    assert float((right - wrong).square().mean().sqrt()) > 0.1


def test_the_configuration_names_the_given_dimensions(model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["hidden_size"], config["num_key_value_heads"], config["vocab_size"]) == (64, 2, 512)
    assert (config["bos_token_id"], config["eos_token_id"], config["tie_word_embeddings"]) == (0, 1, False)


def test_a_vocabulary_larger_than_the_corpus_gives_is_refused(builder: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the corpus gave"):
        builder.build(tmp_path, seed=7, **(SMALL | {"vocabulary": 3_000_000}))
