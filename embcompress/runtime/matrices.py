"""How a matrix is cut into panels: 16 outputs and the inputs that they share.

A panel costs as much for each input as one vector of weights, whether all 16 are needed or not. So
rows that read the same inputs belong together. There are three ways to find them, and what is
cheapest by count of vectors is taken:

``strips``
    rows as they come, 16 at a time; for zeros in blocks of 16 rows.
``rows``
    rows with equal lists of inputs, wherever they are.
``columns``
    inputs that are read by the same rows; a row then lies in several panels whose parts are added.
    For rows that are removed inside blocks of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Panel", "Panels", "cut", "strips"]

LANES = 16
# in vectors of weights: what a panel costs besides, and a part that is added to an output
_PANEL_COST, _SCATTER_COST = 6.0, 0.7

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Panel:
    """Up to 16 rows and the columns that they share, both as they are numbered in the matrix."""

    rows: Ints
    columns: Ints


@dataclass(frozen=True, eq=False)
class Panels:
    """A way to cut a matrix.

    Attributes
    ----------
    panels : sequence of Panel
    in_order : bool
        Whether panel p is rows 16 p to 16 p + 15, so that outputs need no putting together.
    """

    panels: Sequence[Panel]
    in_order: bool

    def vectors(self, quads: bool = False) -> int:
        """Vectors of weights: one for each column of a panel, or for four that follow each other.

        Parameters
        ----------
        quads : bool, default False
            Count columns 4 k to 4 k + 3 once, as int8 has it.

        Returns
        -------
        int
        """
        if not quads:
            return sum(len(panel.columns) for panel in self.panels)
        return sum(len(np.unique(panel.columns // 4)) for panel in self.panels)

    def cost(self, n_rows: int) -> float:
        """Vectors of weights, and what goes with them in that unit."""
        scattered = 0 if self.in_order else sum(len(panel.rows) for panel in self.panels)
        extra = 0.0 if self.in_order else _SCATTER_COST * scattered + n_rows / LANES
        return self.vectors() + _PANEL_COST * len(self.panels) + extra


def strips(kept: Bools) -> Panels:
    """Rows as they come, 16 at a time, with every column that any of them keeps.

    Parameters
    ----------
    kept : ndarray of bool, shape (rows, columns)

    Returns
    -------
    Panels
    """
    n = len(kept)
    starts = range(0, n, LANES)
    any_kept = np.logical_or.reduceat(kept, list(starts), axis=0)
    found = [
        Panel(np.arange(start, min(start + LANES, n)), np.flatnonzero(columns))
        for start, columns in zip(starts, any_kept, strict=True)
    ]
    return Panels(found, True)


def cut(kept: Bools) -> Panels:
    """Cut a matrix the cheapest way.

    What is tried first wins a tie, so the same mask always gives the same panels.

    Parameters
    ----------
    kept : ndarray of bool, shape (rows, columns)

    Returns
    -------
    Panels
    """
    ways = [strips(kept), _by_rows(kept), _by_columns(kept)]
    return min(ways, key=lambda way: way.cost(len(kept)))


def _by_rows(kept: Bools) -> Panels:
    """Rows with equal lists of columns, 16 at a time."""
    found = []
    for rows in classes(kept):
        columns = np.flatnonzero(kept[rows[0]])
        if len(columns):
            found += [Panel(part, columns) for part in _sixteens(rows)]
    return Panels(found, False)


def _by_columns(kept: Bools) -> Panels:
    """Columns with equal lists of rows, each with its rows 16 at a time."""
    found = []
    for columns in classes(kept.T):
        rows = np.flatnonzero(kept[:, columns[0]])
        found += [Panel(part, columns) for part in _sixteens(rows)]
    return Panels(found, False)


def classes(kept: Bools) -> list[Ints]:
    """Numbers of equal rows, in the order in which each kind first comes.

    Parameters
    ----------
    kept : ndarray of bool, shape (rows, columns)

    Returns
    -------
    list of ndarray of int64
    """
    packed = np.ascontiguousarray(np.packbits(kept, axis=1))
    if packed.shape[1] == 0:
        return [np.arange(len(kept))] if len(kept) else []
    keys = packed.view([("", packed.dtype, packed.shape[1])]).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    bounds = np.cumsum(np.bincount(inverse))[:-1]
    groups = np.split(order, bounds)
    return [groups[k] for k in np.argsort(first, kind="stable")]


def _sixteens(rows: Ints) -> list[Ints]:
    return [rows[i : i + LANES] for i in range(0, len(rows), LANES)]
