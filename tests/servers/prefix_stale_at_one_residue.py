"""Keeps one token too many of a stored prefix where the cut is one short of a block of sixteen."""

import prefixes
import server

GROUP = "E2"
CHECK = ("audit.request", "sessions.", "interface.request")
DEPTH = "full"


class Stale(prefixes.PrefixStore):
    def shared(self, prompt: list[int], tokens: list[int]) -> int:
        length = super().shared(prompt, tokens)
        return length + (length % 16 == 15 and length < min(len(prompt), len(tokens)))


server.Generator = Stale
server.main()
