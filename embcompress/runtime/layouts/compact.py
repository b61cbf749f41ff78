"""Whole rows and columns, or filters and channels, are gone; the rest is dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout, smallest_uint

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Compact"]


@dataclass(frozen=True, eq=False)
class Compact(Layout):
    """The smallest dense matrix that holds all kept weights.

    Attributes
    ----------
    rows : ndarray of the smallest type for O - 1, shape (R,)
        Kept rows, ascending. Empty if the weights have all O rows.
    columns : ndarray of the smallest type for the number of columns - 1, shape (C,)
        Kept columns, ascending. Empty if the weights have all of them.
    weights : ndarray of shape (R, C) or (R, C, kh, kw)
        With four axes, columns are input channels; otherwise they are columns of the matrix
        (O, K), in a convolution places ``(i * kh + y) * kw + x``.
    """

    rows: npt.NDArray[np.unsignedinteger]
    columns: npt.NDArray[np.unsignedinteger]
    name = "compact"
    fills = True

    @classmethod
    def _pack(cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_]) -> Self:
        weight = np.where(kept, weight, weight.dtype.type(0))
        forms = [cls._dense_rest(weight, kept, weight.shape[1:2])]
        if weight.ndim == 4:
            forms.append(cls._dense_rest(weight, kept, (weight[0].size,)))
        return min(forms, key=lambda form: form.nbytes + form.index_nbytes)

    @classmethod
    def _dense_rest(
        cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_], across: tuple[int, ...]
    ) -> Self:
        """With columns that are channels, or places."""
        shape = (len(weight), *across, weight[0].size // across[0])
        kept = kept.reshape(shape)
        rows = np.flatnonzero(kept.any((1, 2)))
        columns = np.flatnonzero(kept.any((0, 2)))
        rest = weight.reshape(shape)[np.ix_(rows, columns)]
        inner = weight.shape[2:] if across[0] == weight.shape[1] else ()
        return cls(
            weight.shape,
            rest.reshape(len(rows), len(columns), *inner),
            _unless_all(rows, len(weight)),
            _unless_all(columns, across[0]),
        )

    def _write(self, matrix: npt.NDArray, weights: npt.NDArray) -> None:
        n_rows, n_columns = weights.shape[:2]
        whole = matrix.reshape(len(matrix), self._across, -1)
        rows = self.rows if len(self.rows) else np.arange(n_rows)
        columns = self.columns if len(self.columns) else np.arange(n_columns)
        whole[np.ix_(rows, columns)] = weights.reshape(n_rows, n_columns, whole.shape[2])

    @property
    def _across(self) -> int:
        return self.shape[1] if self.weights.ndim == len(self.shape) else self._matrix_shape[1]

    def _check(self) -> None:
        inner = self.shape[2:] if self.weights.ndim == 4 else ()
        self._expect("weights", self.weights.dtype, (None, None, *inner))
        lengths = {"rows": self.shape[0], "columns": self._across}
        for axis, (name, length) in enumerate(lengths.items()):
            found = self.weights.shape[axis]
            listed = (0,) if found == length else (found,)
            self._expect(name, smallest_uint(length - 1), listed)
            self._expect_lists(name, length)


def _unless_all(chosen: npt.NDArray, length: int) -> npt.NDArray[np.unsignedinteger]:
    listed = chosen[:0] if len(chosen) == length else chosen
    return listed.astype(smallest_uint(length - 1))
