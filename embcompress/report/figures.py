"""The figures of the page, each with a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from embcompress.report.elements import figure, legend
from embcompress.report.style import N_STYLES
from embcompress.report.svg import (
    Bar,
    Point,
    Series,
    bar_chart,
    interval_chart,
    line_chart,
)
from embcompress.report.tables import (
    NOTHING,
    Line,
    columns_of,
    difference,
    first_metrics,
    plain,
    score,
)

__all__ = ["costs", "isotropy", "quality", "retention", "styles_of"]

REFERENCE = "float"
_SMALLEST_SHARE = 3e-4
# The plainest scoring of each method: Hamming distance, or cosine of decoded vectors
_SYMMETRIC = "symmetric"
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def styles_of(lines: Sequence[Line]) -> dict[str, int]:
    """Number of the colour and mark of each method."""
    names = [name for name in dict.fromkeys(line.method for line in lines) if name != REFERENCE]
    return {REFERENCE: -1} | {name: number % N_STYLES for number, name in enumerate(names)}


def quality(lines: Sequence[Line], styles: Mapping[str, int]) -> list[str]:
    """Score against bits, a figure for each task and way of scoring."""
    figures = []
    for column in first_metrics(columns_of(lines)):
        panels: dict[str, list[Line]] = {}
        for line in lines:
            if column in line.scores and line.method != REFERENCE:
                kind = _SYMMETRIC if line.is_first else line.scoring
                panels.setdefault(kind, []).append(line)
        floats = [line for line in lines if line.method == REFERENCE and column in line.scores]
        for kind, members in panels.items():
            figures.append(_quality_figure(column, kind, [*floats, *members], styles))
    return figures


def _quality_figure(
    column: tuple[str, str], kind: str, lines: Sequence[Line], styles: Mapping[str, int]
) -> str:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.method, []).append(line)
    series = []
    for method, members in groups.items():
        ordered = sorted(members, key=lambda line: line.n_bits)
        style = styles[method]
        # other float methods are levels too, but only one line across the plot can be read
        if members[0].scoring == REFERENCE and style >= 0:
            continue
        found = [(line.n_bits, line.scores[column]) for line in ordered]
        points = [Point(bits, row["value"], row["low"], row["high"]) for bits, row in found]
        series.append(Series(method, style, points))
    bits = sorted({p.x for each in series if each.style >= 0 for p in each.points})
    title = f"{column[0]}, {kind}"
    plot = line_chart(
        series,
        title=f"{title}: {column[1]} against bits",
        x_label="bits a word (logarithmic)",
        y_label=column[1],
        log_x=True,
        x_ticks=bits,
    )
    header = ["method", *(f"{plain(b)} bits" for b in bits)]
    cells = [[each.name, *(_at(groups[each.name], b, column) for b in bits)] for each in series]
    return figure(title, plot, legend([each.name for each in series], styles), header, cells)


def _at(members: Sequence[Line], bits: float, column: tuple[str, str]) -> str:
    for line in members:
        if line.n_bits == bits or line.method == REFERENCE:
            return score(line.scores.get(column))
    return NOTHING


def retention(lines: Sequence[Line], styles: Mapping[str, int]) -> list[str]:
    """Difference to float with its interval, a figure for each task."""
    figures = []
    for column in first_metrics(columns_of(lines)):
        shown = [
            (line, line.scores[column])
            for line in lines
            if line.method != REFERENCE
            and line.is_first
            and line.scores.get(column, {}).get("difference") is not None
        ]
        if not shown:
            continue
        shown.sort(key=lambda pair: (-pair[0].n_bits, -pair[1]["difference"]))
        bars = [
            Bar(
                line.label,
                styles[line.method],
                row["difference"],
                difference(row),
                row["difference_low"],
                row["difference_high"],
            )
            for line, row in shown
        ]
        title = f"{column[0]}: {column[1]}, difference to float"
        plot = interval_chart(bars, title=title, x_label=f"{column[1]} minus that of float")
        cells = [[line.label, line.scoring, difference(row)] for line, row in shown]
        header = ["method", "scoring", "difference, interval, share kept"]
        figures.append(figure(column[0], plot, "", header, cells))
    return figures


def costs(lines: Sequence[Line], styles: Mapping[str, int], about: Mapping[str, Any]) -> list[str]:
    """Bytes and seconds, as bars."""
    shown = [line for line in lines if line.is_first and line.costs.get("stored_bytes")]
    if not shown:
        return []
    words = about.get("words")
    figures = [
        _bars(
            "Stored bytes",
            shown,
            styles,
            lambda line: line.costs["stored_bytes"],
            lambda line: f"{_bytes(line.costs['stored_bytes'])}, {_ratio(line)}",
            "bytes; times smaller than float",
        )
    ]
    timed = [line for line in shown if line.costs.get("encode_seconds")]
    if words and timed:
        figures.append(
            _bars(
                "Words encoded in a second of CPU time",
                timed,
                styles,
                lambda line: words / line.costs["encode_seconds"],
                lambda line: f"{words / line.costs['encode_seconds']:,.0f}",
                "words a second",
            )
        )
    fitted = [line for line in shown if line.costs.get("fit_seconds")]
    if fitted:
        figures.append(
            _bars(
                "CPU seconds to fit",
                fitted,
                styles,
                lambda line: line.costs["fit_seconds"],
                lambda line: f"{line.costs['fit_seconds']:.2f}",
                "seconds",
            )
        )
    return figures


def _bars(
    title: str,
    lines: Sequence[Line],
    styles: Mapping[str, int],
    value: Callable[[Line], float],
    text: Callable[[Line], str],
    unit: str,
) -> str:
    bars = [Bar(line.label, styles[line.method], value(line), text(line)) for line in lines]
    plot = bar_chart(bars, title=title, x_label=unit)
    return figure(title, plot, "", ["method", title], [[bar.name, bar.text] for bar in bars])


def _ratio(line: Line) -> str:
    return f"{line.costs['float_bytes'] / line.costs['stored_bytes']:.1f}x"


def _bytes(size: float) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} B"


def isotropy(
    lines: Sequence[Line], spectra: Mapping[str, Sequence[float]], styles: Mapping[str, int]
) -> list[str]:
    """Spectra of float and of each method at its largest number of bits."""
    chosen: dict[str, Line] = {}
    for line in lines:
        best = chosen.get(line.method)
        if best is None or line.n_bits > best.n_bits:
            chosen[line.method] = line
    series: list[Series] = []
    cells = []
    for method, line in chosen.items():
        values = spectra.get(f"{method}, {line.n_bits} bits")
        if not values:
            continue
        # what is below is rounding: the codes of fewer directions decode to no more of them
        points = [Point(i, v) for i, v in enumerate(values, 1) if v > _SMALLEST_SHARE]
        # float comes last, and so above the others
        series.insert(0, Series(line.label, styles[method], points))
        before, after = (line.costs.get(f"isotropy_{when}") for when in ("before", "after"))
        half = sum(1 for i in range(len(values)) if sum(values[:i]) < 0.5)
        cells.append([line.label, f"{values[0]:.3f}", str(half), plain(before), plain(after)])
    if not series:
        return []
    plot = line_chart(
        series,
        title="Share of variance along principal directions",
        x_label="principal direction (logarithmic)",
        y_label="share of variance",
        log_x=True,
        log_y=True,
        marks=False,
    )
    header = [
        "method",
        "share of first direction",
        "directions for half of the variance",
        "isotropy before",
        "isotropy after",
    ]
    names = legend(list(chosen), styles)
    return [figure("Spectrum before and after", plot, names, header, cells)]
