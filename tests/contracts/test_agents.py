from __future__ import annotations

import inspect

import pytest

from vibeserve_loop import resolve, roles


@pytest.mark.parametrize("name", resolve.names("agents"))
def test_every_agent_file_holds_an_agent_whose_options_are_words(name: str) -> None:
    found = resolve.find_class("agents", name)
    assert issubclass(found, roles.Agent)
    assert found.__name__ == "".join(word.capitalize() for word in name.split("_")) + "Agent"
    kinds = [str(parameter.annotation) for parameter in inspect.signature(found).parameters.values()]
    assert set(kinds) <= {"str"}


@pytest.mark.parametrize("name", resolve.names("agents"))
def test_every_agent_works_from_a_brief_at_a_desk(name: str) -> None:
    found = resolve.find_class("agents", name)
    assert list(inspect.signature(found.work).parameters) == ["self", "brief", "desk"]
