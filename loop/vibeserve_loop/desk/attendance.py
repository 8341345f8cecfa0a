"""One session of whatever agent, attended: its failures cost its round alone, and no key of the user's is kept."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from pytest_vibeserve.errors import VibeserveError
from vibeserve_loop.desk.endings import AgentStopped, Session, given_up, spent
from vibeserve_loop.desk.growth import overgrown
from vibeserve_loop.desk.secrecy import leaked, masked, masked_result, sayable, secrets_of
from vibeserve_loop.foreign import Stumble, attempted
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Agent, Brief, Desk


def attended(agent: Agent, brief: Brief, desk: Desk) -> AgentResult:
    """The session's result, keys masked in it and in the log.

    What an agent raises becomes a failed session; InfrastructureError and UsageError pass, keys masked in their words.
    """
    keys, began = secrets_of(os.environ), time.monotonic()
    desk = replace(desk, log=masked(desk.log, keys))
    try:
        found = attempted(lambda: _checked(agent, brief, desk, keys))
    except VibeserveError as error:
        said = sayable(str(error), keys)
        if said == str(error):
            raise
        raise type(error)(said) from None
    if isinstance(found, Stumble):
        desk.log(found.traceback.rstrip())
        reached = Session(summary="", spend=spent(time.monotonic() - began, 0.0, 0, 0))
        return masked_result(given_up(desk, AgentStopped("died", found.reason), reached), keys)
    return found.value


def _checked(agent: Agent, brief: Brief, desk: Desk, keys: tuple[str, ...]) -> AgentResult:
    found = sound(agent.work(brief, desk), keys)
    if why := overgrown(desk.folder):
        return masked_result(given_up(desk, AgentStopped("flooded", why), Session(**found.model_dump())), keys)
    leaks = () if found.failed else leaked(desk.folder, keys)
    if not leaks:
        return found
    stopped = AgentStopped("garbage", f"it wrote a key from the environment into {', '.join(leaks)}")
    return masked_result(given_up(desk, stopped, Session(**found.model_dump())), keys)


def sound(told: object, keys: tuple[str, ...]) -> AgentResult:
    """A result as it can be recorded; TypeError for what is none, ValidationError where it could not be read again."""
    if not isinstance(told, AgentResult):
        raise TypeError(f"the agent gave {type(told).__name__}, not an AgentResult")
    found = masked_result(told, keys)
    AgentResult.model_validate_json(recorded(found))
    return found


def recorded(found: AgentResult) -> str:
    """What the record holds of a result, as JSON."""
    alone = AgentResult.model_construct(**{name: getattr(found, name) for name in AgentResult.model_fields})
    return alone.model_dump_json(warnings=False)
