"""HTML from elements: whatever is no element already is escaped, so no text of a candidate becomes markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "meta"})


class Markup(str):
    """Text that is HTML already; made by `element` and `join` only."""

    __slots__ = ()


Node = Markup | str | int | float | None


def element(name: str, /, *children: Node, **attributes: object) -> Markup:
    """One element; `class_` is class, `_` in an attribute's name is `-`, and attributes that are None are left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[Node]) -> Markup:
    """Nodes one after the other; None is nothing."""
    return Markup("".join(_node(child) for child in children if child is not None))


def _node(child: Markup | str | int | float) -> str:
    return child if isinstance(child, Markup) else escape(_plain(child))


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    # HTML has no control characters, and a parser may take what follows one for something else.
    return "".join(sign if sign >= " " or sign in "\n\t" else "\ufffd" for sign in str(value))
