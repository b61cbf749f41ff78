"""Plots as inline SVG, which takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from embcompress.report.style import N_COLOURS

__all__ = [
    "Bar",
    "Point",
    "Series",
    "bar_chart",
    "interval_chart",
    "line_chart",
    "mark",
]

_WIDTH = 460
_HEIGHT = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 12, 44
_ROW = 22
_DODGE = 3.5
_CORNERS: dict[int, list[tuple[float, float]]] = {
    1: [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    2: [(0, -1.2), (1.2, 1), (-1.2, 1)],
    3: [(0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)],
}


@dataclass(frozen=True)
class Point:
    """A point with its interval."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points that belong together; `style` chooses colour and mark, -1 the reference's."""

    name: str
    style: int
    points: Sequence[Point]


@dataclass(frozen=True)
class Bar:
    """A value, its interval where there is one, and what is written beside it."""

    name: str
    style: int
    value: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class _Axis:
    """From values to places."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    x_ticks: Sequence[float] | None = None,
    marks: bool = True,
) -> str:
    """Lines through points with intervals.

    Parameters
    ----------
    series : sequence of Series
        One with style -1 and a single point is drawn across the whole plot.
    title, x_label, y_label : str
    log_x, log_y : bool
    x_ticks : sequence of float, optional
    marks : bool, default True
        Whether points have marks.

    Returns
    -------
    str
    """
    lines = [each for each in series if not _is_level(each)]
    points = [point for each in lines for point in each.points]
    values = [
        v for each in series for p in each.points for v in (p.y, p.low, p.high) if v is not None
    ]
    xs = [point.x for point in points]
    x = _axis(xs, _LEFT, _WIDTH - _RIGHT, log_x, margin=0.06 if marks else 0)
    y = _axis(values, _HEIGHT - _BOTTOM, _TOP, log_y, margin=0.06)
    parts = [_frame(x, y, x_ticks or _ticks(x), x_label, y_label)]
    parts += [_level(each, y) for each in series if _is_level(each)]
    for number, each in enumerate(lines):
        # beside each other, so that intervals at the same place can be told apart
        shift = _DODGE * (number - (len(lines) - 1) / 2) if marks else 0.0
        parts.append(_line(each, x, y, marks, shift))
    return _svg(title, _HEIGHT, parts)


def interval_chart(bars: Sequence[Bar], *, title: str, x_label: str) -> str:
    """Values with intervals, one below the other, and a line at zero."""
    values = [v for bar in bars for v in (bar.value, bar.low, bar.high, 0.0) if v is not None]
    height = _TOP + _ROW * len(bars) + _BOTTOM
    left = _name_width(bars)
    x = _axis(values, left, _WIDTH - _RIGHT, False, margin=0.05)
    parts = [_grid(x, _ticks(x, 4), height, x_label, left)]
    zero = x(0.0)
    parts.append(
        f'<line class="zero" x1="{zero:.1f}" x2="{zero:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
    )
    for number, bar in enumerate(bars):
        middle = _TOP + _ROW * (number + 0.5)
        parts.append(_name(bar.name, left, middle))
        low, high = (bar.value if v is None else v for v in (bar.low, bar.high))
        parts.append(
            f'<g class="s{bar.style}"><title>{escape(f"{bar.name}: {bar.text}")}</title>'
            f'<line class="interval" x1="{x(low):.1f}" x2="{x(high):.1f}" '
            f'y1="{middle}" y2="{middle}"/>{mark(bar.style, x(bar.value), middle)}</g>'
        )
    return _svg(title, height, parts)


def bar_chart(bars: Sequence[Bar], *, title: str, x_label: str) -> str:
    """Horizontal bars from zero, with their values written out."""
    height = _TOP + _ROW * len(bars) + 24
    left = _name_width(bars)
    right = _WIDTH - _RIGHT - 74
    largest = max((bar.value for bar in bars), default=0) or 1.0
    parts = []
    for number, bar in enumerate(bars):
        top = _TOP + _ROW * number
        width = max((right - left) * bar.value / largest, 1)
        parts.append(_name(bar.name, left, top + _ROW / 2))
        parts.append(
            f'<rect class="s{bar.style} bar" x="{left}" y="{top + 4}" width="{width:.1f}" '
            f'height="{_ROW - 8}"/>'
            f'<text x="{left + width + 5:.1f}" y="{top + _ROW / 2 + 4}">{escape(bar.text)}</text>'
        )
    parts.append(f'<text class="label" x="{left}" y="{height - 6}">{escape(x_label)}</text>')
    return _svg(title, height, parts)


def mark(style: int, x: float, y: float) -> str:
    """The mark of a style, so that colour is not all that tells series apart."""
    size = 4.5
    if style < 0:
        return ""
    # behind the last colour the marks are shifted, so that each pair comes once
    shape = (style + style // N_COLOURS) % 4
    if shape == 0:
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>'
    places = " ".join(f"{x + size * a:.1f},{y + size * b:.1f}" for a, b in _CORNERS[shape])
    return f'<polygon class="mark" points="{places}"/>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _is_level(series: Series) -> bool:
    return series.style < 0 and len(series.points) == 1


def _axis(values: Sequence[float], start: float, end: float, is_log: bool, margin: float) -> _Axis:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if is_log:
        low, high = math.log10(low), math.log10(high)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    room = (high - low) * margin
    low, high = low - room, high + room
    return _Axis(10**low if is_log else low, 10**high if is_log else high, start, end, is_log)


def _ticks(axis: _Axis, n: int = 5) -> list[float]:
    """Round values within an axis."""
    if axis.is_log:
        decades = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        ticks = [factor * 10.0**power for power in decades for factor in (1, 2, 5)]
        if len(decades) > 3:
            ticks = [10.0**power for power in decades]
    else:
        raw = (axis.high - axis.low) / n
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
        first = math.ceil(axis.low / step - 1e-9)
        ticks = [step * (first + i) for i in range(2 * n + 2)]
    return [tick for tick in ticks if axis.low <= tick <= axis.high * (1 + 1e-9)]


def _grid(x: _Axis, ticks: Sequence[float], height: float, label: str, left: float) -> str:
    """Vertical lines with numbers below."""
    parts = [
        f'<line class="grid" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
        f'<text class="tick" text-anchor="middle" x="{x(t):.1f}" y="{height - _BOTTOM + 16}">'
        f"{_number(t)}</text>"
        for t in ticks
    ]
    middle = (left + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="label" text-anchor="middle" x="{middle:.0f}" y="{height - 8}">'
        f"{escape(label)}</text>"
    )
    return "".join(parts)


def _frame(x: _Axis, y: _Axis, x_ticks: Sequence[float], x_label: str, y_label: str) -> str:
    parts = [_grid(x, x_ticks, _HEIGHT, x_label, _LEFT)]
    for tick in _ticks(y):
        place = y(tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place:.1f}" '
            f'y2="{place:.1f}"/><text class="tick" text-anchor="end" x="{_LEFT - 6}" '
            f'y="{place + 4:.1f}">{_number(tick)}</text>'
        )
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text class="label" text-anchor="middle" transform="translate(12 {middle:.0f}) '
        f'rotate(-90)">{escape(y_label)}</text>'
    )
    return "".join(parts)


def _line(series: Series, x: _Axis, y: _Axis, marks: bool, shift: float) -> str:
    places = [(x(point.x) + shift, y(point.y)) for point in series.points]
    parts = [f'<g class="s{series.style}"><title>{escape(series.name)}</title>']
    parts += [
        f'<line class="line" x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}"/>'
        for (a, b), (c, d) in pairwise(places)
        if marks
    ]
    if not marks:
        joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        return "".join([*parts, f'<polyline class="line" points="{joined}"/></g>'])
    for point, (a, b) in zip(series.points, places, strict=True):
        if point.low is not None and point.high is not None:
            parts.append(
                f'<line class="interval" x1="{a:.1f}" x2="{a:.1f}" '
                f'y1="{y(point.low):.1f}" y2="{y(point.high):.1f}"/>'
            )
        parts.append(mark(series.style, a, b))
    return "".join([*parts, "</g>"])


def _level(series: Series, y: _Axis) -> str:
    """A score that does not depend on bits, with its interval, across the plot."""
    point = series.points[0]
    parts = [f'<g class="reference"><title>{escape(series.name)}</title>']
    if point.low is not None and point.high is not None:
        parts.append(
            f'<rect class="band" x="{_LEFT}" y="{y(point.high):.1f}" '
            f'width="{_WIDTH - _RIGHT - _LEFT}" height="{y(point.low) - y(point.high):.1f}"/>'
        )
    parts.append(
        f'<line class="level" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(point.y):.1f}" '
        f'y2="{y(point.y):.1f}"/></g>'
    )
    return "".join(parts)


def _name_width(bars: Sequence[Bar]) -> float:
    longest = max((len(bar.name) for bar in bars), default=0)
    return min(7.0 * longest + 12, 190)


def _name(name: str, left: float, middle: float) -> str:
    return f'<text text-anchor="end" x="{left - 8:.0f}" y="{middle + 4}">{escape(name)}</text>'


def _number(value: float) -> str:
    if value and abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{round(value, 10):,g}"
