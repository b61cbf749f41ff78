"""Strips of 16 rows that share their columns: the form that vector units like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout, lengths_of, smallest_uint, starts_of

if TYPE_CHECKING:
    from typing import Self

__all__ = ["HEIGHT", "Strips"]

HEIGHT = 16
# The dot product of int8 takes four neighbouring inputs at once, that of float32 one.
_WIDTHS = {np.dtype("<f4"): 1, np.dtype("i1"): 4}


@dataclass(frozen=True, eq=False)
class Strips(Layout):
    """Blocks of 16 x 1 (float32) or 16 x 4 (int8), by strips of 16 rows.

    A unit is one column for float32, and columns ``4 u`` to ``4 u + 3`` for int8. Each strip has
    a list of units; a block is 16 rows of one unit. What a block has beyond the last row or
    column of the matrix is zero.

    Attributes
    ----------
    rows : ndarray of the smallest type for O - 1, shape (R,)
        The rows that are cut into strips, ascending, where leaving out empty rows takes fewer
        bytes. Empty if all rows are.
    strip_ptr : ndarray of the smallest type for B, shape (ceil(R / 16) + 1,)
        Where the blocks of each strip start; last, B.
    units : ndarray of the smallest type for the number of units - 1, shape (B,)
        Unit of each block, ascending in a strip.
    weights : ndarray of shape (B, 16) or (B, 16, 4)
        By block, row of the strip, and column of the unit.
    """

    rows: npt.NDArray[np.unsignedinteger]
    strip_ptr: npt.NDArray[np.unsignedinteger]
    units: npt.NDArray[np.unsignedinteger]
    name = "strips"
    fills = True

    @classmethod
    def _pack(cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_]) -> Self:
        matrix = np.where(kept, weight, weight.dtype.type(0)).reshape(len(weight), -1)
        kept = kept.reshape(matrix.shape)
        filled = np.flatnonzero(kept.any(1))
        rows = filled[:0].astype(smallest_uint(len(weight) - 1))
        forms = [cls(weight.shape, *_cut(matrix, kept, rows))]
        if 0 < len(filled) < len(weight):
            rows = filled.astype(rows.dtype)
            forms.append(cls(weight.shape, *_cut(matrix[rows], kept[rows], rows)))
        return min(forms, key=lambda form: form.nbytes + form.index_nbytes)

    def _write(self, matrix: npt.NDArray, weights: npt.NDArray) -> None:
        n_rows, n_columns = matrix.shape
        width = _WIDTHS[self.weights.dtype]
        rows = self.rows if len(self.rows) else np.arange(n_rows)
        n_strips = len(self.strip_ptr) - 1
        blocks = np.zeros((n_strips, HEIGHT, -(-n_columns // width), width), matrix.dtype)
        strip = np.repeat(np.arange(n_strips), lengths_of(self.strip_ptr))
        blocks[strip, :, self.units] = weights.reshape(-1, HEIGHT, width)
        whole = blocks.reshape(n_strips * HEIGHT, -1)
        matrix[rows] = whole[: len(rows), :n_columns]

    def _check(self) -> None:
        n_rows, n_columns = self._matrix_shape
        width = _WIDTHS[self.weights.dtype]
        n_units = -(-n_columns // width)
        block = (HEIGHT,) if width == 1 else (HEIGHT, width)
        self._expect("weights", self.weights.dtype, (None, *block))
        n_blocks = len(self.weights)
        self._expect("rows", smallest_uint(n_rows - 1), (None,))
        self._expect_lists("rows", n_rows)
        n_strips = -(-(len(self.rows) or n_rows) // HEIGHT)
        self._expect("strip_ptr", smallest_uint(n_blocks), (n_strips + 1,))
        self._expect_offsets("strip_ptr", n_blocks)
        self._expect("units", smallest_uint(n_units - 1), (n_blocks,))
        self._expect_lists("units", n_units, lengths_of(self.strip_ptr))
        self._check_rims(len(self.rows) or n_rows, n_columns, width)

    def _check_rims(self, n_rows: int, n_columns: int, width: int) -> None:
        """Raise unless blocks are zero beyond the last row and column."""
        below = n_rows % HEIGHT or HEIGHT
        right = n_columns % width or width
        last = self.weights[int(self.strip_ptr[-2]) :]
        beside = self.weights.reshape(-1, HEIGHT, width)[self.units == (n_columns - 1) // width]
        if last[:, below:].any() or beside[:, :, right:].any():
            self._fail("array 'weights' has numbers beyond the last row or column, expected zeros")


def _cut(
    matrix: npt.NDArray, kept: npt.NDArray[np.bool_], rows: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]:
    """``weights, rows, strip_ptr, units`` of a matrix whose rows lie in strips."""
    width = _WIDTHS[matrix.dtype]
    n_strips, n_units = -(-len(matrix) // HEIGHT), -(-matrix.shape[1] // width)
    form = (n_strips, HEIGHT, n_units, width)
    # width first: pairs of short axes are slow to reduce together
    used = np.any(np.any(_padded(kept, form), axis=3), axis=1)
    strip, unit = np.nonzero(used)
    starts = starts_of(np.count_nonzero(used, axis=1))
    blocks = _padded(matrix, form)[strip, :, unit]
    return (
        blocks.reshape(len(blocks), HEIGHT, *([width] if width > 1 else [])),
        rows,
        starts.astype(smallest_uint(len(blocks))),
        unit.astype(smallest_uint(n_units - 1)),
    )


def _padded(matrix: npt.NDArray, form: tuple[int, int, int, int]) -> npt.NDArray:
    n_rows, n_columns = form[0] * form[1], form[2] * form[3]
    if matrix.shape != (n_rows, n_columns):
        room = np.zeros((n_rows, n_columns), matrix.dtype)
        room[: matrix.shape[0], : matrix.shape[1]] = matrix
        matrix = room
    return matrix.reshape(form)
