"""Reads prompts in pieces of sixteen tokens."""

import generation
import server
from generation import Cache, Floats


class Chunked(generation.Model):
    def forward(self, tokens: list[int], cache: Cache) -> Floats:
        pieces = [tokens[at : at + 16] for at in range(0, len(tokens), 16)]
        return [super(Chunked, self).forward(piece, cache) for piece in pieces][-1]


generation.Generator.model_class = Chunked
server.main()
