"""What a refusal must look like, whatever was asked for."""

from __future__ import annotations

import orjson

from pytest_vibeserve.load_generator import Reply

ERROR_FIELDS = frozenset({"message", "type", "param", "code"})


def unrefused(what: str, reply: Reply) -> str:
    """What is wrong with the refusal of a request that cannot be served; "" when it is a 4xx with an error object."""
    shown = f"status {reply.status} {reply.error}: {reply.body[:160].decode('utf-8', 'replace')!r}"
    if not 400 <= reply.status < 500:
        return f"{what} is not refused with a 4xx: {shown}"
    try:
        missing = ERROR_FIELDS - set(orjson.loads(reply.body)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"{what} is refused without an error object: {shown}"
    return f"{what} is refused with an error object that lacks {sorted(missing)}: {shown}" if missing else ""
