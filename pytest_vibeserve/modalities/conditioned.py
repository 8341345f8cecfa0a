"""Prompts that say more than their ids: the audio that is transcribed, the schema that an answer must keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self


class Conditioned(tuple[int, ...]):
    """Prompt ids with what else the answer depends on; everything that knows only ids goes on working."""

    condition: object

    def __new__(cls, ids: Iterable[int], condition: object) -> Self:
        """Ids as a tuple has them, and the condition beside them."""
        made = super().__new__(cls, ids)
        made.condition = condition
        return made
