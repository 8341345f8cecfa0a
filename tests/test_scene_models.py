"""The models and the requests of the larger targets: drawn from a seed, in the layout of the published ones."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import imported
from pytest_vibeserve.modalities.chat.wire import ChatRequest
from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.workload import Request, Vocabulary, Workload

LLAMA, QWEN, OLMO = "llama_3_8b", "qwen3_32b_code_edit", "olmo_hybrid_prefix_cache"
CLASSES = {LLAMA: "LlamaForCausalLM", QWEN: "Qwen3ForCausalLM", OLMO: "OlmoHybridForCausalLM"}
ROOT = Path(__file__).resolve().parents[1]


def scene(name: str) -> Target:
    return load_target(str(ROOT / "targets" / name), "tiny")


def taken(target: Target, count: int, seed: int = 5) -> list[Request]:
    return Workload(target, Vocabulary(model_folder(target)), random.Random(seed)).take(count)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_transformers_reads_the_weights_as_given(name: str) -> None:
    target = scene(name)
    folder = model_folder(target)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == [CLASSES[name]]
    model = imported(target.folder / "reference.py").load(folder, "float32", "sdpa")
    assert type(model).__name__ == CLASSES[name]
    given = sum(tensor.float().sum().item() for tensor in load_file(folder / "model.safetensors").values())
    assert sum(tensor.sum().item() for tensor in model.state_dict().values()) == pytest.approx(given, rel=1e-3, abs=1.0)


def test_the_hybrid_model_has_both_kinds_of_layer_and_no_positions() -> None:
    target = scene(OLMO)
    folder = model_folder(target)
    model = imported(target.folder / "reference.py").load(folder, "float32", "sdpa")
    names = set(load_file(folder / "model.safetensors"))
    assert "model.layers.0.linear_attn.q_conv1d.weight" in names
    assert "model.layers.3.self_attn.q_norm.weight" in names
    assert model.model.rotary_emb is None


def test_half_of_the_requests_of_the_standard_service_are_chats() -> None:
    target = scene(LLAMA)
    vocabulary = Vocabulary(model_folder(target))
    requests = taken(target, 60)
    chats = [one for one in requests if isinstance(one, ChatRequest)]
    assert 15 <= len(chats) <= 45
    header = vocabulary.tokenizer.token_to_id("<|start_header_id|>")
    assert all(one.messages[-1].role == "user" and header in one.prompt_ids for one in chats)
    assert {"system", "user", "assistant"} == {message.role for one in chats for message in one.messages}


def test_words_of_a_data_set_of_conversations_are_asked_with_a_fresh_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Tell me about trains and the people who drive them, please."
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([{"conversations": [{"from": "human", "value": said}]}]))
    monkeypatch.setenv("VIBESERVE_DATA_CONVERSATIONS", str(path))
    texts = [one.prompt_text or one.messages[-1].content for one in taken(scene(LLAMA), 12) if _worded(one)]
    assert any(text.startswith("Tell me") for text in texts)
    assert len(set(texts)) == len(texts)


def test_a_data_set_that_is_none_is_the_users_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").write_text("[1")
    for name, variable in ((LLAMA, "VIBESERVE_DATA_CONVERSATIONS"), (QWEN, "VIBESERVE_DATA_CODE_EDITS")):
        monkeypatch.setenv(variable, str(tmp_path / "broken"))
        with pytest.raises(UsageError, match=variable):
            taken(scene(name), 12)


def test_edits_are_greedy_and_come_with_predictions_of_every_kind() -> None:
    target = scene(QWEN)
    requests = taken(target, 60)
    assert {one.temperature for one in requests} == {0.0}
    near = [one for one in requests if isinstance(one.prediction, tuple)]
    assert len(near) >= 45
    assert {"", None} & {one.prediction for one in requests if not isinstance(one.prediction, tuple)}
    assert any("Mended:" in one.prompt_text for one in requests)


@torch.inference_mode()
def test_what_most_clients_expect_is_nearly_what_the_model_answers() -> None:
    target = scene(QWEN)
    model = imported(target.folder / "reference.py").load(model_folder(target), "bfloat16", "sdpa")
    near = 0
    for request in taken(target, 10):
        prompt = torch.tensor([request.prompt_ids])
        said = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=8, eos_token_id=None
        )
        expected = request.prediction if isinstance(request.prediction, tuple) else ()
        pairs = set(pairwise(expected[:16]))
        near += sum(pair in pairs for pair in pairwise(said[0, prompt.shape[1] :].tolist())) >= 3
    assert near >= 6


def test_requests_that_go_together_share_a_beginning_and_some_part_from_it_before_its_end() -> None:
    target, beginnings, parted = scene(OLMO), set(), set()
    for seed in range(5, 11):
        begun = [one.prompt_ids[:512] for one in taken(target, 40, seed) if not one.prompt_text]
        common = max(begun, key=begun.count)
        beginnings.add(common)
        differing = [sum(a != b for a, b in zip(common, own, strict=True)) for own in begun]
        assert differing.count(0) > 3 / 4 * len(begun)
        parted |= {count for count in differing if count}
    assert len(beginnings) == 6
    assert min(parted) == 1
    assert max(parted) > 128


def test_a_document_is_what_requests_share_after_a_fresh_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "book.txt"
    path.write_text("It was a bright cold day in April. " * 200)
    monkeypatch.setenv("VIBESERVE_DATA_DOCUMENT", str(path))
    target = scene(OLMO)
    first, second = taken(target, 2), taken(target, 2, seed=6)
    vocabulary = Vocabulary(model_folder(target))
    assert "bright cold day" in vocabulary.decode(first[0].prompt_ids)
    assert first[0].prompt_ids[:20] != second[0].prompt_ids[:20]
    path.write_text("too short")
    with pytest.raises(UsageError, match="fewer than the 512"):
        imported(target.folder / "workload.py").shaped(first, Workload(target, vocabulary, random.Random(1)))


def _worded(request: Request) -> bool:
    return bool(request.prompt_text) or isinstance(request, ChatRequest)
