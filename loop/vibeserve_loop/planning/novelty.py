"""Whether code was tried before, told before any gate: by its tree, or by its source without layout and comments."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vibeserve_loop.ledger.fold import facts_of
from vibeserve_loop.records import AgentResult, Decision, Round, Sketch

WORDS = re.compile(rb"\w+|[^\w\s]")
PIECE = 5
"""Words in a piece: short enough to outlive small edits elsewhere, long enough to be told apart."""
KEPT = 64
"""Pieces that are kept of a source: those of the smallest hash, so that two samples compare (bottom-k sketch)."""
LARGEST = 1_000_000
EXACT = 1.0
"""From this threshold on only the digest counts."""
NOT_SOURCE = (".git", "__pycache__")


@dataclass(frozen=True, slots=True)
class Made:
    """What a session left: its result, its tree and that of the code it began from, and the sketch of its source."""

    work: AgentResult
    tree: str
    origin: str
    sketch: Sketch


def without_gate(made: Made, rounds: Sequence[Round], threshold: float) -> Decision | None:
    """The decision where no gate is needed: the session failed, or changed nothing, or the code was tried before."""
    if made.work.failed:
        return Decision(ruling="void", reason=made.work.failed)
    if made.tree == made.origin:
        return Decision(ruling="void", reason=f"nothing was changed: {made.work.summary}")
    facts = facts_of(rounds)
    if made.tree in facts.trees:
        return Decision(ruling="reject", reason=f"the same code as in round {facts.trees[made.tree]}")
    like = twin(made.sketch, rounds, threshold)
    if like is not None:
        return Decision(ruling="reject", reason=f"the same source as in round {like}, as far as it matters")
    return None


def sketch(folder: Path, *, pieces_too: bool = True) -> Sketch:
    """The sketch of a folder's files; Python without comments, docstrings and layout, other text as its words."""
    whole, pieces = hashlib.sha256(), set[int]()
    for path in _files(folder):
        words = WORDS.findall(_normal(path))
        name = os.fsencode(path.relative_to(folder))
        whole.update(name + b"\0" + b" ".join(words) + b"\0")
        if not pieces_too:
            continue
        pieces.update(zlib.crc32(b" ".join(words[i : i + PIECE])) for i in range(max(1, len(words) - PIECE + 1)))
    return Sketch(digest=whole.hexdigest(), pieces=tuple(sorted(pieces)[:KEPT]))


def likeness(one: Sketch, other: Sketch) -> float:
    """Shared pieces over all pieces (Jaccard), estimated from the samples; 1 for the same source."""
    if one.digest == other.digest:
        return 1.0
    union = sorted({*one.pieces, *other.pieces})[:KEPT]
    shared = set(one.pieces) & set(other.pieces)
    return len(shared.intersection(union)) / len(union) * 0.999 if union else 0.0


def twin(found: Sketch, rounds: Sequence[Round], threshold: float) -> int | None:
    """A round that the gate judged, or the starter's, whose source is as much like this as the threshold says."""
    if threshold >= EXACT or found.digest in (sources := facts_of(rounds).sources):
        return facts_of(rounds).sources.get(found.digest)
    judged = {*sources.values()}
    near = (r.round for r in reversed(rounds) if r.round in judged and r.sketch)
    return next((n for n in near if likeness(found, rounds[n].sketch or found) >= threshold), None)


def _files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_SOURCE]
        found += [Path(place, name) for name in names]
    return sorted(path for path in found if path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST)


def _normal(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".py":
        return data
    try:
        return ast.dump(_bare(ast.parse(data))).encode()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # What Python takes apart not at all, or only by calling itself too often, is text like any other.
        return data


def _bare(tree: ast.Module) -> ast.Module:
    """The same tree without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
