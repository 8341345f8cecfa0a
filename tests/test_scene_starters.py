"""The starters of the larger text targets answer what waits together, and each row as if it were alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from completion_contract import PROMPT, Served, served

from pytest_vibeserve.target import load_target
from pytest_vibeserve.weights import model_folder

ROOT = Path(__file__).resolve().parents[1]
SCENES = ("llama_3_8b", "qwen3_32b_code_edit", "olmo_hybrid_prefix_cache")
PROMPTS = [[*PROMPT[1:], *range(20, 20 + more)] for more in (0, 3, 11, 30)]
CLOSE = 0.2
"""Logprobs (nats) of bfloat16 computations of one context, behind padding or not."""


@pytest.fixture(scope="module", params=SCENES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A starter that answers four rows together on CPU too, as it does more of them on a GPU."""
    folder = tmp_path_factory.mktemp(request.param) / "candidate"
    shutil.copytree(ROOT / "targets" / request.param / "starter", folder)
    generation = folder / "generation.py"
    text = generation.read_text(encoding="utf-8")
    assert text.count('"cpu": 1}') == 1
    generation.write_text(text.replace('"cpu": 1}', '"cpu": 4}'), encoding="utf-8")
    with served(folder, model_folder(load_target(request.param, "tiny"))) as running:
        yield running


def test_rows_of_one_batch_answer_as_each_does_alone(server: Served) -> None:
    fields = {"max_tokens": 8, "logprobs": 1, "ignore_eos": True}
    together = server.whole(prompt=PROMPTS, **fields)["choices"]
    alone = [server.whole(prompt=prompt, **fields)["choices"][0] for prompt in PROMPTS]
    assert len(together) == len(alone)
    for one, other in zip(together, alone, strict=True):
        first, second = (choice["logprobs"]["token_logprobs"][0] for choice in (one, other))
        assert first == pytest.approx(second, abs=CLOSE)
    same = [one["token_ids"] == other["token_ids"] for one, other in zip(together, alone, strict=True)]
    assert sum(same) >= len(PROMPTS) - 1


def test_a_short_answer_ends_while_others_of_its_batch_go_on(server: Served) -> None:
    lengths = [1, 24, 3, 17, 2, 9]
    with ThreadPoolExecutor(len(lengths)) as pool:
        answers = pool.map(lambda length: server.whole(max_tokens=length, ignore_eos=True), lengths)
        found = [len(answer["choices"][0]["token_ids"]) for answer in answers]
    assert found == lengths


def test_each_row_is_sampled_by_its_own_seed(server: Served) -> None:
    fields = {"max_tokens": 6, "temperature": 1.0, "ignore_eos": True, "seed": 5, "n": 3}
    first, second = (server.whole(**fields)["choices"] for _ in range(2))
    assert [one["token_ids"] for one in first] == [one["token_ids"] for one in second]
    assert len({tuple(one["token_ids"]) for one in first}) > 1
