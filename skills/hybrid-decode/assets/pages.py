"""Keys and values in pages, which texts that begin alike may share, and attention over them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

PAGE = 64
"""Positions that one page holds."""

Place = tuple[slice, int, int]
"""Rows of a step, their slot, the position of the first of them."""

Run = slice | torch.Tensor
"""Pages one behind the other in memory, which are read as they lie, or any others."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Several tokens of one text: their rows, the text's pages, its length after them, and what each row sees."""

    rows: slice
    pages: Run
    end: int
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class Family:
    """One token each of texts that share their first pages.

    `rows` [texts]; `common` tokens lie in the pages `shared`; `own` [texts, pages] are the others, of which each text
    sees what `mask` [texts, 1, tokens] says.
    """

    rows: torch.Tensor
    shared: Run
    common: int
    own: torch.Tensor
    mask: torch.Tensor


class Layout:
    """Where the rows of a step are written and what they read: the same for all layers."""

    def __init__(self, places: Sequence[Place], tables: Sequence[Sequence[int]], device: str) -> None:
        """Lay out a step; `tables` holds each slot's pages in the order of their positions."""
        at = [(tables[slot], start + row) for rows, slot, start in places for row in range(rows.stop - rows.start)]
        self.pages = torch.tensor([table[position // PAGE] for table, position in at], device=device)
        self.offsets = torch.tensor([position % PAGE for _, position in at], device=device)
        self.pieces: list[Piece] = []
        families: dict[int, list[Place]] = defaultdict(list)
        for rows, slot, start in places:
            end = start + rows.stop - rows.start
            if end - start == 1:
                families[tables[slot][0]].append((rows, slot, start))
                continue
            seen = torch.arange(end, device=device) <= torch.arange(start, end, device=device).unsqueeze(1)
            self.pieces.append(Piece(rows, _run(tables[slot][: _pages(end)], device), end, seen))
        self.families = [_family(members, tables, device) for members in families.values()]


class PagedCache:
    """Keys and values of one layer, [heads, pages, PAGE, size] each; used from one thread."""

    def __init__(self, shape: tuple[int, int, int], device: str) -> None:
        """Take room for `shape`: heads of keys, pages, and the size of a head."""
        heads, pages, size = shape
        self._keys, self._values = (
            torch.zeros(heads, pages, PAGE, size, dtype=torch.bfloat16, device=device) for _ in range(2)
        )

    def copy(self, source: int, target: int) -> None:
        """Copy a page."""
        self._keys[:, target], self._values[:, target] = self._keys[:, source], self._values[:, source]

    def attend(self, layout: Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Write keys and values [rows, heads of keys, size]; return what the queries [rows, heads, size] attend to."""
        self._keys[:, layout.pages, layout.offsets] = key.transpose(0, 1)
        self._values[:, layout.pages, layout.offsets] = value.transpose(0, 1)
        mixed = torch.empty_like(query)
        for piece in layout.pieces:
            keys, values = (_read(kept, piece.pages)[None, :, : piece.end] for kept in (self._keys, self._values))
            mixed[piece.rows] = scaled_dot_product_attention(
                query[piece.rows].transpose(0, 1).unsqueeze(0), keys, values, attn_mask=piece.mask,
                enable_gqa=query.shape[1] != keys.shape[1],
            )[0].transpose(0, 1)  # fmt: skip
        for family in layout.families:
            mixed[family.rows] = self._together(family, query[family.rows])
        return mixed

    def _together(self, family: Family, query: torch.Tensor) -> torch.Tensor:
        """Attention of one query for each text [texts, heads, size]: what the texts share is read once for all."""
        texts, _, size = query.shape
        grouped = query.reshape(texts, len(self._keys), -1, size).transpose(0, 1)
        group = grouped.shape[2]
        everybody = grouped.reshape(len(grouped), texts * group, size)
        shared = everybody @ _read(self._keys, family.shared).transpose(1, 2)
        shared = shared.reshape(len(grouped), texts, group, family.common)
        own = grouped @ _read(self._keys, family.own).transpose(2, 3)
        own = own.masked_fill(~family.mask, float("-inf"))
        weights = (torch.cat((shared, own), dim=-1).float() * size**-0.5).softmax(-1).to(query.dtype)
        of_all, of_own = weights.split([family.common, own.shape[-1]], dim=-1)
        seen = of_all.reshape(len(grouped), texts * group, -1) @ _read(self._values, family.shared)
        seen = seen.reshape(grouped.shape) + of_own @ _read(self._values, family.own)
        return seen.transpose(0, 1).reshape(query.shape)


def _family(members: Sequence[Place], tables: Sequence[Sequence[int]], device: str) -> Family:
    """Texts with the same first page; a page that is still being filled is nobody else's."""
    own = [tables[slot] for _, slot, _ in members]
    ends = [start + 1 for _, _, start in members]
    most = (min(ends) - 1) // PAGE
    # Of several lists the least and the greatest agree as far as all do.
    low, high = min(table[:most] for table in own), max(table[:most] for table in own)
    alike = next((place for place in range(most) if low[place] != high[place]), most)
    width = _pages(max(ends)) - alike
    # The gaps of shorter texts are filled with any page: what lies there is not seen.
    rest = [[*table[alike : _pages(end)], *[table[0]] * width][:width] for table, end in zip(own, ends, strict=True)]
    reach = torch.tensor(ends, device=device) - alike * PAGE
    return Family(
        torch.tensor([rows.start for rows, _, _ in members], device=device), _run(own[0][:alike], device),
        alike * PAGE, torch.tensor(rest, device=device),
        (torch.arange(width * PAGE, device=device) < reach.unsqueeze(1)).unsqueeze(1),
    )  # fmt: skip


def _pages(tokens: int) -> int:
    return -(-tokens // PAGE)


def _run(pages: Sequence[int], device: str) -> Run:
    """The pages as a slice where they lie one behind the other."""
    first = pages[0] if pages else 0
    if list(pages) == list(range(first, first + len(pages))):
        return slice(first, first + len(pages))
    return torch.tensor(pages, device=device)


def _read(kept: torch.Tensor, pages: Run) -> torch.Tensor:
    """Return [heads, ..., tokens, size] of pages [..., pages]."""
    found = kept[:, pages]
    return found.reshape(*found.shape[:-3], found.shape[-3] * PAGE, found.shape[-1])
