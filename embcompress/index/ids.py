"""Ids of the codes of an index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embcompress.index.checks import Ids, checked_ids, subset_mask

__all__ = ["IdMap"]


@dataclass(frozen=True, eq=False)
class IdMap:
    """Which id each row has; an immutable value.

    Parameters
    ----------
    n : int
        Number of rows.
    array : ndarray of int64, shape (n,), optional
        By default the id of a row is its number.
    """

    n: int = 0
    array: Ids | None = None

    @property
    def ids(self) -> Ids:
        """All ids, by row."""
        return np.arange(self.n) if self.array is None else self.array

    def of(self, rows: Ids) -> Ids:
        """Ids of rows; -1 stays."""
        if self.array is None:
            return rows
        return np.where(rows < 0, -1, self.array[np.maximum(rows, 0)])

    def find(self, ids: Ids) -> Ids:
        """Rows of ids, -1 for those that are not there."""
        if self.array is None:
            return np.where(ids < self.n, ids, -1)
        order = np.argsort(self.array, kind="stable")
        place = np.minimum(np.searchsorted(self.array, ids, sorter=order), max(self.n - 1, 0))
        rows = order[place] if self.n else np.full(len(ids), -1)
        return np.where(self.array[rows] == ids, rows, -1) if self.n else rows

    def added(self, n: int, ids: npt.ArrayLike | None) -> IdMap:
        """With `n` more rows.

        Raises
        ------
        ValueError
            If the ids are not whole numbers from 0 on, or one is there already.
        """
        if ids is None:
            if self.array is None:
                return IdMap(self.n + n)
            start = int(self.array.max(initial=-1)) + 1
            new = np.arange(start, start + n)
        else:
            new = checked_ids(ids, n)
            there = self.find(new) >= 0
            if there.any():
                raise ValueError(
                    f"ids holds {new[there][0]}, which is in the index already; remove it first"
                )
        return IdMap(self.n + n, np.concatenate([self.ids, new]))

    def order(self) -> Ids | None:
        """What puts rows in the order of ids; None if they are."""
        if self.array is None or (self.array[1:] > self.array[:-1]).all():
            return None
        return np.argsort(self.array, kind="stable")

    def taken(self, keep: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> IdMap:
        """Some of the rows, by a mask or in an order."""
        array = self.ids[keep]
        return IdMap(len(array), array)

    def subset(self, subset: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Rows that a subset stands for: one truth per row, or ids.

        Raises
        ------
        ValueError
            If its shape is another, or an id is not there.
        """
        return subset_mask(subset, self.n, self.find)

    def rows_to_remove(self, ids: npt.ArrayLike) -> Ids:
        """Rows of ids that must be there.

        Raises
        ------
        ValueError
            If one is not.
        """
        wanted = checked_ids(ids)
        rows = self.find(wanted)
        if (rows < 0).any():
            raise ValueError(f"ids holds {wanted[rows < 0][0]}, which is not in the index")
        return rows
