"""What many tests stand on: the smallest target, its vocabulary, and gates that run as processes of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gates import Gates
from hypothesis import settings

from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.workload import Vocabulary

# A busy machine makes examples slow, and no test asserts how long something takes.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "targets" / "tiny_llama"
LONGEST_TEST_S = 1500
LONG_FILES = ("test_readme.py",)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """No test hangs for ever, and files whose tests take minutes begin first, lest a worker wait for them at the end.

    The limit is a mark, since gates run from this folder too, without the plugin that knows it.
    """
    for item in items if config.pluginmanager.hasplugin("timeout") else ():
        item.add_marker(pytest.mark.timeout(LONGEST_TEST_S))
    items.sort(key=lambda item: item.path.name not in LONG_FILES and "gates" not in getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def _environment_stays() -> Iterator[None]:
    """No test may leave a variable behind that a later one's processes would obey."""
    before = {name for name in os.environ if name.startswith(("PYTHON", "PIP_", "PYTEST_ADD", "LD_"))}
    yield
    assert {name for name in os.environ if name.startswith(("PYTHON", "PIP_", "PYTEST_ADD", "LD_"))} == before


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def tiny() -> Target:
    """The smallest target in the smallest profile."""
    return load_target(str(TARGET), "tiny")


@pytest.fixture(scope="session")
def vocabulary(tiny: Target) -> Vocabulary:
    """The vocabulary of the smallest model; the model is made when it is not there yet."""
    from pytest_vibeserve.reference import model_folder

    return Vocabulary(model_folder(tiny))


@pytest.fixture(scope="session")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gates]:
    """Runs gates, some at the same time, of all workers together; what still runs at the end is stopped."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    running = Gates(ROOT, tmp_path_factory.mktemp("gates"), shared)
    yield running
    running.close()
