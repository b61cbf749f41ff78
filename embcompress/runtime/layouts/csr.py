"""Compressed sparse rows: one column number per weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout, Misfit, lengths_of, starts_of

if TYPE_CHECKING:
    from typing import Self

__all__ = ["CSR"]


@dataclass(frozen=True, eq=False)
class CSR(Layout):
    """Single weights, row by row; what the index of other layouts is compared with.

    Attributes
    ----------
    rowptr : ndarray of uint32, shape (O + 1,)
        Where the weights of each row start; last, their number.
    columns : ndarray of uint16, or uint32 if K > 65536, shape (n,)
        Column of each weight, ascending in a row.
    weights : ndarray of shape (n,)
    """

    rowptr: npt.NDArray[np.uint32]
    columns: npt.NDArray[np.uint16 | np.uint32]
    name = "csr"

    @classmethod
    def _pack(cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_]) -> Self:
        kept = kept.reshape(len(weight), -1)
        starts = starts_of(np.count_nonzero(kept, axis=1))
        if starts[-1] >= 1 << 32:
            raise Misfit(f"csr cannot hold {starts[-1]} weights: offsets have 32 bits")
        columns = np.nonzero(kept)[1].astype(_column_type(kept.shape[1]))
        return cls(weight.shape, weight.reshape(kept.shape)[kept], starts.astype("<u4"), columns)

    def _write(self, matrix: npt.NDArray, weights: npt.NDArray) -> None:
        rows = np.repeat(np.arange(len(matrix)), lengths_of(self.rowptr))
        matrix[rows, self.columns] = weights

    def _check(self) -> None:
        n_rows, n_columns = self._matrix_shape
        self._expect("weights", self.weights.dtype, (None,))
        self._expect("columns", _column_type(n_columns), self.weights.shape)
        self._expect("rowptr", "<u4", (n_rows + 1,))
        self._expect_offsets("rowptr", len(self.weights))
        self._expect_lists("columns", n_columns, lengths_of(self.rowptr))


def _column_type(n_columns: int) -> np.dtype:
    # never one byte: that is how CSR is known
    return np.dtype("<u2") if n_columns <= 1 << 16 else np.dtype("<u4")
