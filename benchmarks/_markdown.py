"""Markdown tables and numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Row = dict[str, str]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def number(text: str, digits: int) -> str:
    """A number with so many digits after the point; empty stays empty."""
    return f"{float(text):,.{digits}f}" if text else ""
