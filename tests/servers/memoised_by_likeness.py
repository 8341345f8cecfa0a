"""Answers a prompt from a store when one of the same length, beginning and end came before."""

from pathlib import Path

from servers import memoised_answers

CHECK = ("audit.request", "repeats.computed")


def make(starter: Path, into: Path) -> None:
    memoised_answers.make(starter, into, "(len(sequence.tokens), *sequence.tokens[:3], *sequence.tokens[-3:])")
