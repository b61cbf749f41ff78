"""Parts that the page is put together from: figures, legends and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from embcompress.report.svg import mark

__all__ = ["figure", "legend", "table"]


def figure(
    title: str, plot: str, names: str, header: Sequence[str], cells: Sequence[Sequence[str]]
) -> str:
    """A plot with its caption and legend, and its figures as a table."""
    return (
        f"<figure>\n<figcaption>{escape(title)}</figcaption>\n{plot}\n{names}"
        f"<details><summary>Table</summary>{table(header, cells)}</details>\n</figure>\n"
    )


def legend(names: Sequence[str], styles: Mapping[str, int]) -> str:
    """Names with their colours and marks."""
    items = "".join(
        f'<li><svg viewBox="0 0 16 12" aria-hidden="true"><g class="{_class(styles[name])}">'
        f'<line class="{"level" if styles[name] < 0 else "line"}" x1="0" x2="16" y1="6" y2="6"/>'
        f"{mark(styles[name], 8, 6)}</g></svg>{escape(name)}</li>"
        for name in names
    )
    return f'<ul class="legend">{items}</ul>\n'


def _class(style: int) -> str:
    return "reference" if style < 0 else f"s{style}"


def table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table whose rows are named by their first cell."""
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
