"""Accepts requests beyond the context, and gives as much as fits."""

from dataclasses import replace

import server
from card import Card
from protocol import Request
from text import Vocabulary

GROUP = "C12"
CHECK = "interface.context-limit"


def accepting(raw: bytes, card: Card, vocabulary: Vocabulary) -> Request:
    request = parse(raw, replace(card, context=9 * card.context), vocabulary)
    room = card.context - max(map(len, request.prompts))
    return replace(request, max_tokens=min(request.max_tokens, max(1, room)))


parse, server.parse = server.parse, accepting
server.main()
