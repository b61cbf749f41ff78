"""Rows as tables: one line for each method, number of bits and scoring; a column for each task."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "NOTHING",
    "Line",
    "brief_table",
    "columns_of",
    "difference",
    "first_metrics",
    "lines_of",
    "plain",
    "score",
    "score_table",
    "to_csv",
    "to_json",
    "to_markdown",
]

Row = Mapping[str, Any]
Column = tuple[str, str]

MEAN = "mean"
NOTHING = "–"  # noqa: RUF001
# These look at what is stored, so all scorings of a method share them
_SHARED = ("categorization", "text classification")


@dataclass(eq=False)
class Line:
    """Mean scores of one method, number of bits and scoring.

    Attributes
    ----------
    method : str
    n_bits : int
    scoring : str
    is_first : bool
        Whether it is the plainest scoring of the method.
    costs : dict
        The row that has bytes and seconds.
    scores : dict of (task, metric) to row
    """

    method: str
    n_bits: int
    scoring: str
    is_first: bool
    costs: Row
    scores: dict[Column, Row] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Method and bits; a method with float vectors has no bits worth telling."""
        if self.scoring == "float":
            return self.method
        return f"{self.method}, {self.n_bits} bits"


def lines_of(rows: Sequence[Row]) -> list[Line]:
    """Lines of a table, in the order of the rows.

    Parameters
    ----------
    rows : sequence of mapping
        Those with ``dataset="mean"`` are used.

    Returns
    -------
    list of Line
    """
    lines: dict[tuple[str, int, str], Line] = {}
    first: dict[tuple[str, int], Line] = {}
    for row in rows:
        if row["dataset"] != MEAN or row["value"] is None:
            continue
        group = row["method"], row["n_bits"]
        if row["task"] in _SHARED and group in first:
            line = first[group]
        else:
            is_first = group not in first
            line = lines.setdefault(
                (*group, row["scoring"]), Line(*group, row["scoring"], is_first, row)
            )
            first.setdefault(group, line)
        line.scores[row["task"], row["metric"]] = row
    return list(lines.values())


def columns_of(lines: Sequence[Line]) -> list[Column]:
    """Task and metric of all columns, in the order in which they come up."""
    return list(dict.fromkeys(column for line in lines for column in line.scores))


def score_table(
    lines: Sequence[Line], *, differences: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Header and cells.

    Parameters
    ----------
    lines : sequence of Line
    differences : bool, default False
        Differences to float, not scores.

    Returns
    -------
    header : list of str
    cells : list of list of str
    """
    columns = columns_of(lines)
    if differences:
        columns = [column for column in columns if _has_difference(lines, column)]
        lines = [line for line in lines if any(c in line.scores for c in columns)]
    header = ["method", "bits", "scoring", "bytes a word"]
    header += [f"{task}, {metric}" for task, metric in columns]
    show = difference if differences else score
    cells = [
        [
            line.method,
            str(line.n_bits),
            line.scoring,
            plain(line.costs.get("bytes_per_vector")),
            *(show(line.scores.get(column)) for column in columns),
        ]
        for line in lines
    ]
    return header, cells


def brief_table(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Header and cells for a terminal: the first metric of each task, without intervals.

    A star is where the paired interval of the difference to float does not hold 0.

    Parameters
    ----------
    lines : sequence of Line

    Returns
    -------
    header : list of str
    cells : list of list of str
    """
    columns = first_metrics(columns_of(lines))
    header = ["method", "bits", "scoring", "bytes", *(_brief_name(c) for c in columns)]
    cells = []
    for line in lines:
        size = plain(line.costs.get("bytes_per_vector"))
        values = [_brief(line.scores.get(column)) for column in columns]
        cells.append([line.method, str(line.n_bits), line.scoring, size, *values])
    return header, cells


def first_metrics(columns: Sequence[Column]) -> list[Column]:
    """One column of each task: other metrics of it tell the same, and are in the tables."""
    return list({column[0]: column for column in reversed(columns)}.values())[::-1]


def _brief_name(column: Column) -> str:
    task, metric = column
    return metric if task == "retrieval" else task.removesuffix(" classification")


def _brief(row: Row | None) -> str:
    if row is None or row.get("value") is None:
        return f"{NOTHING} "
    low, high = row.get("difference_low"), row.get("difference_high")
    differs = low is not None and high is not None and not low <= 0 <= high
    return _short(row["value"]) + ("*" if differs else " ")


def _has_difference(lines: Sequence[Line], column: Column) -> bool:
    return any(
        column in line.scores and line.scores[column].get("difference") is not None
        for line in lines
    )


def score(row: Row | None) -> str:
    """A score with its interval, such as ``.500 [.400, .600]``."""
    if row is None or row.get("value") is None:
        return NOTHING
    return f"{_short(row['value'])} [{_short(row['low'])}, {_short(row['high'])}]"


def difference(row: Row | None) -> str:
    """A difference to float with its interval and what share of the score is kept."""
    if row is None or row.get("difference") is None:
        return NOTHING
    low, high = row["difference_low"], row["difference_high"]
    text = f"{_signed(row['difference'])} [{_signed(low)}, {_signed(high)}]"
    kept = row.get("retention")
    return text if kept is None else f"{text} {100 * kept:.1f} %"


def plain(value: float | None) -> str:
    """A number with four digits, without a unit."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".", 1)


def to_markdown(rows: Sequence[Row]) -> str:
    """Tables of mean scores and of differences to float.

    Parameters
    ----------
    rows : sequence of mapping

    Returns
    -------
    str
    """
    lines = lines_of(rows)
    text = _markdown(*score_table(lines))
    header, cells = score_table(lines, differences=True)
    others = [row for row in cells if row[0] != "float"]
    if len(header) > 4 and others:
        text += f"\nDifference to float, and share of its score:\n\n{_markdown(header, others)}"
    return text


def _markdown(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    sides = [":--" if name in ("method", "scoring") else "--:" for name in header]
    lines = [f"| {' | '.join(row)} |" for row in (header, *cells)]
    lines.insert(1, f"|{'|'.join(sides)}|")
    return "\n".join(lines) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """All rows under a header; empty where there is no figure.

    Parameters
    ----------
    rows : sequence of mapping

    Returns
    -------
    str
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _rounded(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def to_json(
    rows: Sequence[Row],
    *,
    skipped: Sequence[tuple[str, str]] = (),
    about: Mapping[str, Any] | None = None,
) -> str:
    """Rows, settings and what was left out, as one document; null where there is no figure.

    Parameters
    ----------
    rows : sequence of mapping
    skipped : sequence of (str, str)
    about : mapping, optional

    Returns
    -------
    str
    """
    document = {
        "about": dict(about or {}),
        "skipped": [{"what": what, "why": why} for what, why in skipped],
        "rows": [{name: _rounded(value) for name, value in row.items()} for row in rows],
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a row holds {value}; None is for what is not known")
        return float(f"{value:.7g}")
    return value
