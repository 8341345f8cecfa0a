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
GATES = "gates"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """No test hangs for ever; of two workers one runs all that asks for gates, before all else, the other the rest.

    As marks, since gates run from this folder too, without the plugins that know them.
    """
    for item in items if config.pluginmanager.hasplugin("timeout") else ():
        item.add_marker(pytest.mark.timeout(LONGEST_TEST_S))
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: _group(item) != GATES)


def _group(item: pytest.Item) -> str:
    """What is run by one worker in one go: the gates, which go two at a time, and any other file."""
    return GATES if GATES in getattr(item, "fixturenames", ()) else item.path.name


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
    """Runs gates, some at the same time; what still runs at the end is stopped."""
    running = Gates(ROOT, tmp_path_factory.mktemp("gates"))
    yield running
    running.close()
