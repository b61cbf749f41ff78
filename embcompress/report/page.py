"""One HTML page with plots and tables; it asks for nothing from outside and needs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from embcompress.report.elements import table
from embcompress.report.figures import costs, isotropy, quality, retention, styles_of
from embcompress.report.style import STYLE
from embcompress.report.tables import difference, lines_of, score, score_table

__all__ = ["to_html"]

_ABOUT = {
    "missing": "words that are missing",
    "restrict": "analogies among the first",
    "queries": "retrieval queries",
}


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
    styles = styles_of(lines)
    sections = [
        _section("Quality against bits", _QUALITY, quality(lines, styles)),
        _section("What each task keeps", _RETENTION, retention(lines, styles)),
        _section("Size and speed", _COSTS, costs(lines, styles, about or {})),
        _section("Isotropy", _ISOTROPY, isotropy(lines, spectra or {}, styles)),
        _section("All mean scores", "With 95 % intervals.", [table(*score_table(lines))]),
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
    "items. The dashed line is float, the band its interval. Symmetric is Hamming distance, or "
    "cosine where a method has no bits; asymmetric asks with float vectors; x 4 scores a shortlist "
    "again."
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
    return f"<details><summary>{len(cells):,} scores</summary>{table(header, cells)}</details>"


def _left_out(skipped: Sequence[tuple[str, str]]) -> str:
    return table(["what", "why"], [list(pair) for pair in skipped])


def _about(about: Mapping[str, Any]) -> str:
    shown = [(k, v) for k, v in about.items() if isinstance(v, (str, int, float)) and v != ""]
    if not shown:
        return ""
    cells = "".join(
        f"<div><dt>{escape(_ABOUT.get(name, name))}</dt><dd>{escape(_value(value))}</dd></div>"
        for name, value in shown
    )
    return f"<dl>{cells}</dl>\n"


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _section(title: str, text: str, parts: Sequence[str]) -> str:
    if not any(parts):
        return ""
    lead = f"<p>{escape(text)}</p>\n" if text else ""
    inner = "".join(parts)
    body = f'<div class="figures">{inner}</div>' if "<figure" in inner else inner
    return f"<section>\n<h2>{escape(title)}</h2>\n{lead}{body}\n</section>\n"
