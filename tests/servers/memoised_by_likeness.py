"""Answers a prompt from a store when one of the same length, beginning and end came before."""

from collections.abc import Hashable

import memoised_answers

import server
from sequence import Sequence

GROUP = "A2"
CHECK = ("audit.request", "repeats.computed")


class Likened(memoised_answers.Remembering):
    def key(self, sequence: Sequence) -> Hashable:
        prompt = super().key(sequence)
        return (len(prompt), *prompt[:3], *prompt[-3:]) if isinstance(prompt, tuple) else prompt


server.Generator = Likened
server.main()
