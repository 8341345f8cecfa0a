"""The starter of tiny_llama keeps the contract of a text candidate."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from completion_contract import CompletionContract, Served, served

from pytest_vibeserve.target import Target
from pytest_vibeserve.weights import model_folder


@pytest.fixture(scope="module")
def server(root: Path, tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The starter, serving the smallest model."""
    folder = tmp_path_factory.mktemp("starter") / "candidate"
    shutil.copytree(root / "targets" / "tiny_llama" / "starter", folder)
    with served(folder, model_folder(tiny)) as running:
        yield running


class TestStarter(CompletionContract):
    """Every test of the contract, asked of the starter."""
