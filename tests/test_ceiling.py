"""Bounds follow from the model's files and the machine's rates by arithmetic that can be checked by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from pytest_vibeserve.ceiling import Cost, cost, prefill_s, share_of, step_floor_s, step_s
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.machine_rates import Machine, machine
from pytest_vibeserve.report import Ceiling

RATES = Machine(bytes_per_s=1e9, operations_per_s=1e12)
HIDDEN, WORDS = 8, 100


def a_model(folder: Path, **config: object) -> Path:
    """A model folder with an embedding, a head, one dense matrix and four experts; two bytes an element."""
    shapes = {"model.embed_tokens.weight": [WORDS, HIDDEN], "model.layers.0.q.weight": [HIDDEN, HIDDEN]}
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = [WORDS, HIDDEN]
    if "num_local_experts" in config:
        shapes |= {f"model.layers.0.experts.{index}.w": [HIDDEN, HIDDEN] for index in range(4)}
    header, end = {}, 0
    for name, (rows, columns) in shapes.items():
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [end, end + 2 * rows * columns]}
        end += 2 * rows * columns
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_an_untied_embedding_is_looked_up_and_neither_read_whole_nor_multiplied(tmp_path: Path) -> None:
    found = cost(a_model(tmp_path))
    assert found.weight_bytes == 2 * (HIDDEN * HIDDEN + WORDS * HIDDEN)
    assert found.operations_per_token == 2 * (HIDDEN * HIDDEN + WORDS * HIDDEN)
    assert found.head_operations == 2 * WORDS * HIDDEN


def test_a_tied_embedding_is_the_head(tmp_path: Path) -> None:
    found = cost(a_model(tmp_path, tie_word_embeddings=True))
    assert found == Cost(2 * (HIDDEN + WORDS) * HIDDEN, 2 * (HIDDEN + WORDS) * HIDDEN, 2 * WORDS * HIDDEN)


def test_a_token_pays_for_the_experts_that_it_takes_and_a_crowd_reads_them_all(tmp_path: Path) -> None:
    found = cost(a_model(tmp_path, num_local_experts=4, num_experts_per_tok=1))
    expert = 2 * HIDDEN * HIDDEN
    dense = 2 * (HIDDEN * HIDDEN + WORDS * HIDDEN)
    assert found.operations_per_token == dense + expert
    assert found.step_bytes(1) == pytest.approx(dense + expert)
    assert found.step_bytes(1000) == pytest.approx(dense + 4 * expert)


def test_a_step_is_bound_by_reading_for_few_streams_and_by_arithmetic_for_many() -> None:
    work = Cost(weight_bytes=1_000_000, operations_per_token=2_000_000)
    assert step_s(work, RATES, 1) == pytest.approx(1e-3)
    assert step_s(work, RATES, 10_000) == pytest.approx(0.02)


def test_a_prompt_needs_the_output_layer_for_its_last_token_only() -> None:
    work = Cost(weight_bytes=1, operations_per_token=100, head_operations=40)
    assert work.operations(10, 1) == 10 * 60 + 40
    assert work.operations(10, 3) == 12 * 60 + 3 * 40
    assert prefill_s(work, RATES, 10) == pytest.approx(max(640 / 1e12, 1 / 1e9))


def test_a_share_of_one_is_the_bound_itself_for_rates_and_for_latencies() -> None:
    bound = Ceiling(metric="m", load="c1", value=50, unit="", derivation="")
    assert share_of(25, bound, "max") == 0.5
    assert share_of(100, bound, "min") == 0.5


def test_a_steps_floor_is_that_of_this_machine(tmp_path: Path) -> None:
    model = a_model(tmp_path)
    work = cost(model)
    assert step_floor_s(model) == pytest.approx(step_s(work, machine("cpu", work.weight_bytes), 1))


def test_a_backend_that_is_not_here_says_what_it_needs() -> None:
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="torch sees no CUDA device"):
            machine("cuda")
