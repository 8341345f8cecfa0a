"""Bounds follow from the model's files and the machine's rates by arithmetic that can be checked by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from pytest_vibeserve.ceiling import Cost, ceiling, cost, prefill_s, share_of, step_floor_s, step_s, throughput_ceiling
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.machine_rates import Machine, machine
from pytest_vibeserve.report import Ceiling
from pytest_vibeserve.target import Target

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


def test_a_metric_that_physics_leaves_open_has_no_bound(tiny: Target, tmp_path: Path) -> None:
    load = tiny.load_named("c16")
    assert ceiling(tiny, "queueing_p50", load, tmp_path) is None
    assert ceiling(tiny, "output_throughput", tiny.load_named("poisson"), tmp_path) is None
    assert ceiling(tiny.model_copy(update={"modality": "image"}), "ttft_p50", load, tmp_path) is None


def test_bounds_of_a_real_model_on_this_machine_agree_with_each_other(tiny: Target, tmp_path: Path) -> None:
    model = a_model(tmp_path)
    one, many = (ceiling(tiny, "output_throughput", tiny.load_named(name), model) for name in ("c1", "c16"))
    assert one is not None
    assert many == throughput_ceiling(tiny, tiny.load_named("c16"), model)
    assert 0 < one.value <= many.value
    token = ceiling(tiny, "tpot_p50", tiny.load_named("c1"), model)
    assert token is not None
    assert token.value == pytest.approx(1e3 * step_floor_s(model))
    median, last = (ceiling(tiny, f"ttft_p{percent}", tiny.load_named("c1"), model) for percent in (50, 99))
    assert median is not None
    assert last is not None
    assert median.value <= last.value


def test_a_target_that_allows_quantization_has_a_higher_bound(tiny: Target, tmp_path: Path) -> None:
    model, load = a_model(tmp_path), tiny.load_named("c16")
    rules = tiny.rules.model_copy(update={"quantization": True})
    allowed = throughput_ceiling(tiny.model_copy(update={"rules": rules}), load, model)
    assert allowed.value == pytest.approx(4 * throughput_ceiling(tiny, load, model).value)


def test_a_backend_that_is_not_here_says_what_it_needs() -> None:
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="torch sees no CUDA device"):
            machine("cuda")
