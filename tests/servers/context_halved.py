"""Refuses what is longer than half of the context."""

from dataclasses import replace

import server
from card import Card
from protocol import Request
from text import Vocabulary

GROUP = "C12"
CHECK = ("interface.context-limit", "answered")


def misread(raw: bytes, card: Card, vocabulary: Vocabulary) -> Request:
    return parse(raw, replace(card, context=card.context // 2), vocabulary)


parse, server.parse = server.parse, misread
server.main()
