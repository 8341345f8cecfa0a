from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pytest_vibeserve.errors import InfrastructureError, UsageError
from vibeserve_loop.foreign import Done, Stumble, attempted, is_there, require


def _raising(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize("error", [ValueError("embedded\nnull"), SystemExit(3), asyncio.CancelledError(), KeyError()])
def test_what_foreign_code_raises_is_a_fact(error: BaseException) -> None:
    found = attempted(_raising(error))
    assert isinstance(found, Stumble)
    assert found.reason.startswith(type(error).__name__)
    assert "\n" not in found.reason
    assert "Traceback" in found.traceback


@pytest.mark.parametrize("error", [UsageError("u"), InfrastructureError("i"), KeyboardInterrupt()])
def test_our_own_errors_and_an_interruption_pass(error: BaseException) -> None:
    with pytest.raises(type(error)):
        attempted(_raising(error))


def test_what_it_gives_comes_back() -> None:
    assert attempted(lambda: 3) == Done(3)


def test_what_is_not_installed_is_said_with_the_extra_that_brings_it() -> None:
    assert is_there("email.mime")
    assert not is_there("no_such_thing.at.all")
    require("somebody", "extra", "json", "email.mime")
    with pytest.raises(UsageError, match=r'^somebody: its library is missing: pip install "pytest-vibeserve\[extra\]"'):
        require("somebody", "extra", "json", "no_such_thing.at.all")
