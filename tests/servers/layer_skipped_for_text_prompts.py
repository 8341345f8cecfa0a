"""Takes prompts in token ids for a test and is exact there; leaves out the last layer for prompts in words."""

import careless

import server
from sequence import Sequence

GROUP = "D6"
CHECK = "audit.request"
WORDS: set[str] = set()


class Suspicious(careless.Choosy):
    model_class = careless.Shallow

    def careless(self, sequence: Sequence) -> bool:
        return sequence.request.id in WORDS


def noticed(raw: bytes, *known: object) -> object:
    request = parse(raw, *known)
    if b'"prompt":"' in raw.replace(b'": "', b'":"'):
        WORDS.add(request.id)
    return request


parse, server.parse = server.parse, noticed
server.Generator = Suspicious
server.main()
