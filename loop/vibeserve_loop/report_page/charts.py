"""Charts as inline SVG, without a script; colours come from the page's style, light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_vibeserve.report import Distribution
from vibeserve_loop.report_page.markup import Markup, element, join

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 44


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value with its interval at a place of the horizontal axis; `style` is a class of the style sheet."""

    x: float
    value: float
    low: float
    high: float
    style: str
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """What holds from each place on until the next: a staircase."""

    places: tuple[tuple[float, float], ...]
    style: str


@dataclass(frozen=True, slots=True)
class Axes:
    """What the two axes say."""

    across: str
    up: str


def staircase(points: Sequence[Point], lines: Sequence[Line], axes: Axes) -> Markup:
    """Points with intervals over whole numbers, and staircases through some of them; logarithmic upward."""
    shown = [point for point in points if _drawable(point.value)]
    if not shown:
        return element("p", "Nothing was measured yet.", class_="faint")
    last = max(1.0, max(point.x for point in shown))
    across = _scale((0.0, last), LEFT + 12, WIDTH - RIGHT - 8)
    bounds = _span([value for point in shown for value in (point.value, point.low, point.high)])
    up = _log_scale(bounds, HEIGHT - BOTTOM, TOP)
    parts = [_rulings(bounds, up), _caption(axes)]
    for tick in range(0, int(last) + 1, math.ceil(last / 8)):
        parts.append(element("text", tick, x=across(tick), y=HEIGHT - BOTTOM + 18, text_anchor="middle"))
    parts += [_steps(line, across, up, last) for line in lines if line.places]
    for point in shown:
        x = across(point.x)
        parts.append(_bar((x, up(_within(point.low, bounds))), (x, up(_within(point.high, bounds))), point.style))
        parts.append(_dot(x, up(point.value), point))
    return _drawing(parts, axes)


def scatter(points: Sequence[Point], others: Sequence[Point], axes: Axes) -> Markup:
    """Points by two gains with the intervals of both: `points` upward, `others` (same order) across."""
    bounds_up = _span([value for point in points for value in (point.value, point.low, point.high)])
    bounds_across = _span([value for point in others for value in (point.value, point.low, point.high)])
    up, across = _log_scale(bounds_up, HEIGHT - BOTTOM, TOP), _log_scale(bounds_across, LEFT, WIDTH - RIGHT)
    parts = [_rulings(bounds_up, up), _caption(axes)]
    for tick in _ticks(bounds_across):
        parts.append(element("text", short(tick), x=across(tick), y=HEIGHT - BOTTOM + 18, text_anchor="middle"))
    for point, other in zip(points, others, strict=True):
        x, y = across(other.value), up(point.value)
        low, high = (across(_within(edge, bounds_across)) for edge in (other.low, other.high))
        parts.append(_bar((low, y), (high, y), point.style))
        parts.append(_bar((x, up(_within(point.low, bounds_up))), (x, up(_within(point.high, bounds_up))), point.style))
        parts.append(_dot(x, y, point))
        parts.append(element("text", int(point.x), x=x + 7, y=y - 6, class_="faint"))
    return _drawing(parts, axes)


def strips(rows: Sequence[tuple[str, Sequence[tuple[str, Sequence[float]]]]], unit: str) -> Markup:
    """For each row a name and samples of one or two groups, (class, values), over one logarithmic axis."""
    values = [value for _, groups in rows for _, samples in groups for value in samples if _drawable(value)]
    if not values:
        return element("p", "No latency was measured.", class_="faint")
    bounds, left = _span(values), 178
    across = _log_scale(bounds, left, WIDTH - RIGHT)
    height = 34 * len(rows) + 40
    parts: list[Markup] = []
    for tick in _ticks(bounds):
        x = across(tick)
        parts.append(element("line", x1=x, x2=x, y1=4, y2=height - 34, class_="axis"))
        parts.append(element("text", short(tick), x=x, y=height - 18, text_anchor="middle"))
    for number, (name, groups) in enumerate(rows):
        middle = 34 * number + 20
        parts.append(element("text", name, x=0, y=middle + 4))
        for place, (style, samples) in enumerate(groups):
            y = middle - 6 + 12 * place
            shown = sorted(value for value in samples if _drawable(value))
            if shown:
                parts.append(_bar((across(shown[0]), y), (across(shown[-1]), y), style))
            parts += [element("circle", cx=across(value), cy=y, r=4, class_=style) for value in shown]
    parts.append(element("text", unit, x=WIDTH - RIGHT, y=height - 3, text_anchor="end", class_="faint"))
    return element("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=f"samples in {unit}")


def ridges(rows: Sequence[tuple[str, Sequence[tuple[str, Distribution]]]], unit: str) -> Markup:
    """For each row a name and one or two distributions, (class, counts), over one logarithmic axis.

    Heights are shares of each distribution's requests; a stroke marks the median, a dot the 99th percentile.
    """
    edges = [edge for _, groups in rows for _, one in groups if one.counts for edge in (one.first, _end(one))]
    if not edges:
        return element("p", "No latency was measured.", class_="faint")
    bounds, left, each = (min(edges), max(edges)), 208, 46
    across = _log_scale(bounds, left, WIDTH - RIGHT)
    height = each * len(rows) + 40
    parts: list[Markup] = []
    for tick in _ticks(bounds):
        x = across(tick)
        parts.append(element("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=4, y2=height - 34, class_="axis"))
        parts.append(element("text", short(tick), x=f"{x:.1f}", y=height - 18, text_anchor="middle"))
    for number, (name, groups) in enumerate(rows):
        foot = each * (number + 1)
        parts.append(element("text", name, x=0, y=foot - 12))
        highest = max((max(one.counts) / sum(one.counts) for _, one in groups if one.counts), default=1.0)
        for style, one in groups:
            if one.counts:
                parts.append(_ridge(one, style, across, (foot, (each - 8) / highest)))
    parts.append(element("text", unit, x=WIDTH - RIGHT, y=height - 3, text_anchor="end", class_="faint"))
    return element("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=f"distributions in {unit}")


def shares(rows: Sequence[tuple[str, str, float]]) -> Markup:
    """Bars of (name, class, share of a bound, 0 to 1)."""
    height, left = 26 * len(rows) + 6, 230
    parts: list[Markup] = []
    for number, (name, style, part) in enumerate(rows):
        y, room = 26 * number + 6, WIDTH - left - 64
        parts.append(element("text", name, x=0, y=y + 13))
        parts.append(element("rect", x=left, y=y, width=room, height=16, class_="rest"))
        parts.append(element("rect", x=left, y=y, width=room * min(1.0, max(0.0, part)), height=16, class_=style))
        parts.append(element("text", f"{100 * part:.1f} %", x=WIDTH - 56, y=y + 13))
    return element("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label="shares of the bound")


def short(value: float) -> str:
    """A number in about three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ridge(one: Distribution, style: str, across: Callable[[float], float], place: tuple[float, float]) -> Markup:
    """The outline of one distribution on its foot, `place` being the foot and the height of a share of 1."""
    (foot, tall), total = place, sum(one.counts)
    points = [(across(one.first), foot)]
    for number, count in enumerate(one.counts):
        low, high = (across(one.first * one.ratio ** (number + step)) for step in (0, 1))
        points += [(low, foot - tall * count / total), (high, foot - tall * count / total)]
    outline = " ".join(f"{x:.0f},{y:.0f}" for x, y in [*points, (across(_end(one)), foot)])
    middle, tail = (f"{across(quantile(one, share)):.1f}" for share in (0.5, 0.99))
    title = f"median {short(quantile(one, 0.5))} ms, 99th percentile {short(quantile(one, 0.99))} ms of {total}"
    return join([
        element("polygon", element("title", title), points=outline, class_=f"area {style}"),
        element("line", x1=middle, x2=middle, y1=foot - 14, y2=foot, class_=f"bar {style}"),
        element("circle", cx=tail, cy=foot - 4, r=3, class_=style),
    ])  # fmt: skip


def quantile(one: Distribution, share: float) -> float:
    """Where so much of a distribution has passed, to a bin's middle; the last end where it holds nothing."""
    passed = 0
    for number, count in enumerate(one.counts):
        passed += count
        if count and passed >= share * sum(one.counts):
            return float(one.first * one.ratio ** (number + 0.5))
    return _end(one)


def _end(one: Distribution) -> float:
    return one.first * one.ratio ** len(one.counts)


def _drawing(parts: Sequence[Markup], axes: Axes) -> Markup:
    label = f"{axes.up} over {axes.across}"
    return element("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)


def _caption(axes: Axes) -> Markup:
    across = element("text", axes.across, x=WIDTH - RIGHT, y=HEIGHT - 6, text_anchor="end", class_="faint")
    return join([across, element("text", axes.up, x=0, y=HEIGHT - 6, class_="faint")])


def _rulings(bounds: tuple[float, float], up: Callable[[float], float]) -> Markup:
    parts: list[Markup] = []
    for tick in _ticks(bounds):
        y = up(tick)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="axis"))
        parts.append(element("text", short(tick), x=LEFT - 8, y=y + 4, text_anchor="end"))
    return join(parts)


def _steps(line: Line, across: Callable[[float], float], up: Callable[[float], float], last: float) -> Markup:
    first, *rest = line.places
    path = [f"M{across(first[0]):.1f} {up(first[1]):.1f}"]
    for x, value in rest:
        path.append(f"H{across(x):.1f}V{up(value):.1f}")
    return element("path", d="".join([*path, f"H{across(last):.1f}"]), class_=line.style)


def _bar(start: tuple[float, float], end: tuple[float, float], style: str) -> Markup:
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=f"bar {style}")


def _dot(x: float, y: float, point: Point) -> Markup:
    return element("circle", element("title", point.title), cx=x, cy=y, r=5, class_=point.style)


def _scale(domain: tuple[float, float], start: float, end: float) -> Callable[[float], float]:
    low, high = domain
    return lambda value: start + (end - start) * (value - low) / ((high - low) or 1)


def _log_scale(domain: tuple[float, float], start: float, end: float) -> Callable[[float], float]:
    scale = _scale((math.log(domain[0]), math.log(domain[1])), start, end)
    return lambda value: scale(math.log(value))


def _drawable(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _span(values: Sequence[float]) -> tuple[float, float]:
    shown = [value for value in values if _drawable(value)]
    low, high = min(shown), max(shown)
    return low / 1.08, high * 1.08


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1]) if not math.isnan(value) else bounds[0]


def _ticks(bounds: tuple[float, float]) -> list[float]:
    low, high = bounds
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(found) >= 3:
            return found[:: 1 + len(found) // 8]
    return found or [low, high]
