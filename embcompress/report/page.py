"""One HTML page with plots and tables; it asks for nothing from outside and needs no script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from embcompress.report.style import STYLE
from embcompress.report.svg import (
    N_STYLES,
    Bar,
    Point,
    Series,
    bar_chart,
    interval_chart,
    line_chart,
    mark,
)
from embcompress.report.tables import (
    NOTHING,
    Line,
    columns_of,
    difference,
    lines_of,
    plain,
    score,
    score_table,
)

__all__ = ["to_html"]

REFERENCE = "float"
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def to_html(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    spectra: Mapping[str, Sequence[float]] | None = None,
    skipped: Sequence[tuple[str, str]] = (),
    about: Mapping[str, Any] | None = None,
) -> str:
    """The page of a benchmark.

    Parameters
    ----------
    rows : sequence of mapping
        With the columns of :func:`embcompress.evaluation.suite.run_benchmark`.
    title : str
    spectra : mapping of str to sequence of float, optional
        Shares of variance, falling, by method and bits.
    skipped : sequence of (str, str)
        What was left out, and why.
    about : mapping, optional
        Shown below the title.

    Returns
    -------
    str
    """
    lines = lines_of(rows)
    styles = _styles(lines)
    sections = [
        _section("Quality against bits", _QUALITY, _quality(lines, styles)),
        _section("What each task keeps", _RETENTION, _retention(lines, styles)),
        _section("Size and speed", _COSTS, _costs(lines, styles, about or {})),
        _section("Isotropy", _ISOTROPY, _isotropy(lines, spectra or {}, styles)),
        _section("All mean scores", "With 95 % intervals.", [_table(*score_table(lines))]),
        _section("Every data set", "", [_every_set(rows)]),
        _section("Left out", "", [_left_out(skipped)] if skipped else []),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{_about(about or {})}{''.join(sections)}"
        "</main>\n</body>\n</html>\n"
    )


_QUALITY = (
    "Mean over the data sets of a task, seeds averaged; bars are 95 % bootstrap intervals over "
    "items. The dashed line is float, the band its interval."
)
_RETENTION = (
    "Difference to float on the same items, with its paired 95 % interval; right of the line is "
    "better than float."
)
_COSTS = "Everything that is stored counts: codes, factors of words, codebooks and matrices."
_ISOTROPY = (
    "Share of the variance along each principal direction of the unit vectors: flat is isotropic, "
    "steep is a few directions that dominate. Before is float, after is what codes decode to."
)


def _styles(lines: Sequence[Line]) -> dict[str, int]:
    """Number of the colour and mark of each method."""
    names = [name for name in dict.fromkeys(line.method for line in lines) if name != REFERENCE]
    return {REFERENCE: -1} | {name: number % N_STYLES for number, name in enumerate(names)}


def _quality(lines: Sequence[Line], styles: Mapping[str, int]) -> list[str]:
    figures = []
    for column in columns_of(lines):
        chosen = [line for line in lines if column in line.scores]
        for kind in _kinds(chosen):
            members = [line for line in chosen if line.scoring in (kind, REFERENCE)]
            figures.append(_quality_figure(column, kind, members, styles))
    return figures


def _kinds(lines: Sequence[Line]) -> list[str]:
    return [k for k in dict.fromkeys(line.scoring for line in lines) if k != REFERENCE]


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
    return _figure(title, plot, _legend([each.name for each in series], styles), header, cells)


def _at(members: Sequence[Line], bits: float, column: tuple[str, str]) -> str:
    for line in members:
        if line.n_bits == bits or line.method == REFERENCE:
            return score(line.scores.get(column))
    return NOTHING


def _retention(lines: Sequence[Line], styles: Mapping[str, int]) -> list[str]:
    figures = []
    for column in columns_of(lines):
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
        figures.append(_figure(column[0], plot, "", header, cells))
    return figures


def _costs(lines: Sequence[Line], styles: Mapping[str, int], about: Mapping[str, Any]) -> list[str]:
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
            )
        )
    return figures


def _bars(
    title: str,
    lines: Sequence[Line],
    styles: Mapping[str, int],
    value: Callable[[Line], float],
    text: Callable[[Line], str],
) -> str:
    bars = [Bar(line.label, styles[line.method], value(line), text(line)) for line in lines]
    plot = bar_chart(bars, title=title, x_label=title.lower())
    return _figure(title, plot, "", ["method", title], [[bar.name, bar.text] for bar in bars])


def _ratio(line: Line) -> str:
    return f"{line.costs['float_bytes'] / line.costs['stored_bytes']:.1f}x"


def _bytes(size: float) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} B"


def _isotropy(
    lines: Sequence[Line], spectra: Mapping[str, Sequence[float]], styles: Mapping[str, int]
) -> list[str]:
    """Spectra of float and of each method at its largest number of bits."""
    chosen: dict[str, Line] = {}
    for line in lines:
        best = chosen.get(line.method)
        if best is None or line.n_bits > best.n_bits:
            chosen[line.method] = line
    series, cells = [], []
    for method, line in chosen.items():
        values = spectra.get(f"{method}, {line.n_bits} bits")
        if not values:
            continue
        points = [Point(i, v) for i, v in enumerate(values, 1) if v > 1e-9]
        series.append(Series(line.label, styles[method], points))
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
    legend = _legend(list(chosen), styles)
    return [_figure("Spectrum before and after", plot, legend, header, cells)]


def _every_set(rows: Sequence[Mapping[str, Any]]) -> str:
    sets = [row for row in rows if row["dataset"] != "mean"]
    header = [
        "task",
        "data set",
        "metric",
        "method",
        "bits",
        "scoring",
        "covered",
        "score",
        "difference to float",
        "note",
    ]
    cells = [
        [
            row["task"],
            row["dataset"],
            row["metric"],
            row["method"],
            str(row["n_bits"]),
            row["scoring"],
            f"{row['n_covered']:,} of {row['n_items']:,}",
            score(row),
            difference(row),
            row.get("note") or "",
        ]
        for row in sorted(sets, key=lambda row: (row["task"], row["dataset"], row["metric"]))
    ]
    if not cells:
        return ""
    return f"<details><summary>{len(cells):,} scores</summary>{_table(header, cells)}</details>"


def _left_out(skipped: Sequence[tuple[str, str]]) -> str:
    return _table(["what", "why"], [list(pair) for pair in skipped])


def _about(about: Mapping[str, Any]) -> str:
    shown = [(k, v) for k, v in about.items() if isinstance(v, (str, int, float)) and v != ""]
    if not shown:
        return ""
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(f'{v:,}' if isinstance(v, int) else str(v))}"
        "</dd></div>"
        for name, v in shown
    )
    return f"<dl>{cells}</dl>\n"


def _section(title: str, text: str, parts: Sequence[str]) -> str:
    if not any(parts):
        return ""
    lead = f"<p>{escape(text)}</p>\n" if text else ""
    inner = "".join(parts)
    body = f'<div class="figures">{inner}</div>' if "<figure" in inner else inner
    return f"<section>\n<h2>{escape(title)}</h2>\n{lead}{body}\n</section>\n"


def _figure(
    title: str, plot: str, legend: str, header: Sequence[str], cells: Sequence[Sequence[str]]
) -> str:
    return (
        f"<figure>\n<figcaption>{escape(title)}</figcaption>\n{plot}\n{legend}"
        f"<details><summary>Table</summary>{_table(header, cells)}</details>\n</figure>\n"
    )


def _legend(names: Sequence[str], styles: Mapping[str, int]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 16 12" aria-hidden="true"><g class="{_class(styles[name])}">'
        f'<line class="{"level" if styles[name] < 0 else "line"}" x1="0" x2="16" y1="6" y2="6"/>'
        f"{mark(styles[name], 8, 6)}</g></svg>{escape(name)}</li>"
        for name in names
    )
    return f'<ul class="legend">{items}</ul>\n'


def _class(style: int) -> str:
    return "reference" if style < 0 else f"s{style}"


def _table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in cells
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )
