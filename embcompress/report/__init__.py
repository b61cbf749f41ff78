"""Rows of a benchmark as Markdown, CSV, JSON, and one HTML page that needs nothing else.

Examples
--------
>>> from embcompress.report import to_markdown
>>> row = {"method": "sign", "n_bits": 8, "scoring": "hamming", "task": "similarity",
...        "dataset": "mean", "metric": "Spearman", "value": 0.5, "low": 0.4, "high": 0.6,
...        "bytes_per_vector": 1.0}
>>> print(to_markdown([row]))
| method | bits | scoring | bytes a word | similarity, Spearman |
|:--|--:|:--|--:|--:|
| sign | 8 | hamming | 1 | .500 [.400, .600] |
<BLANKLINE>
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from embcompress.container import atomic_write
from embcompress.report.page import to_html
from embcompress.report.tables import to_csv, to_json, to_markdown

__all__ = ["save_report", "to_csv", "to_html", "to_json", "to_markdown"]


class Findings(Protocol):
    """What a report is made from, such as :class:`embcompress.evaluation.suite.Benchmark`."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """One for each score."""

    @property
    def spectra(self) -> Mapping[str, Sequence[float]]:
        """Shares of variance by name."""

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """What was left out, and why."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Vectors and settings."""


def save_report(found: Findings, folder: str | os.PathLike[str], *, title: str) -> list[Path]:
    """Write ``rows.csv``, ``rows.json``, ``table.md`` and ``report.html``.

    Parameters
    ----------
    found : Benchmark
        Anything with `rows`, `spectra`, `skipped` and `about`.
    folder : path-like
        Exists.
    title : str
        Heading of the page.

    Returns
    -------
    list of Path
        The files, in this order.
    """
    page = to_html(
        found.rows, spectra=found.spectra, skipped=found.skipped, about=found.about, title=title
    )
    contents = {
        "rows.csv": to_csv(found.rows),
        "rows.json": to_json(found.rows, skipped=found.skipped, about=found.about),
        "table.md": to_markdown(found.rows),
        "report.html": page,
    }
    paths = []
    for name, text in contents.items():
        path = Path(folder) / name
        with atomic_write(path) as file:
            file.write(text.encode("utf-8"))
        paths.append(path)
    return paths
