"""Faults of a settings file in words: the dotted field, what it should be, and the nearest name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_vibeserve.mistakes import reasons


class Engine(BaseModel):
    model_config = ConfigDict(extra="forbid")
    threads: int = Field(ge=1, description="how many threads compute")


class Machine(BaseModel):
    model_config = ConfigDict(extra="forbid")
    engine: tuple[Engine, ...] = Field(min_length=1, description="the engines, one at least")


def words(table: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Machine.model_validate(table)
    return reasons(caught.value, Machine)


def test_a_missing_field_is_named_with_what_it_means() -> None:
    assert words({}) == "engine is missing: the engines, one at least"


def test_an_unknown_field_is_named_with_the_nearest() -> None:
    assert "engine.0.thread is no field" in words({"engine": [{"thread": 2, "threads": 2}]})
    assert "threads" in words({"engine": [{"thread": 2, "threads": 2}]}).split("no field")[1]


def test_a_wrong_value_is_shown_with_its_place_in_the_list() -> None:
    assert words({"engine": [{"threads": 1}, {"threads": 0}]}).startswith("engine.1.threads: ")
    assert words({"engine": [{"threads": 1}, {"threads": 0}]}).endswith("found 0")
