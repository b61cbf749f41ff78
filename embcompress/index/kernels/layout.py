"""From rows of bytes to blocks of columns."""

from __future__ import annotations

from typing import Any

from numba import types

from embcompress import simd
from embcompress._compiled import compiled

__all__ = ["to_blocks"]

_COLUMN = simd.COLUMN
_ROWS = types.Array(types.uint8, 1, "C", readonly=True)
_BLOCKS = types.Array(types.uint8, 1, "C")


@compiled(
    types.void(_ROWS, types.int64, types.int64, types.int64, types.int64, _BLOCKS, types.int64)
)
def to_blocks(
    rows: Any, at: int, stride: int, n: int, width: int, blocks: Any, position: int
) -> None:
    """Lay rows into blocks.

    Parameters
    ----------
    rows : ndarray of uint8
        Row i begins at ``at + i * stride``.
    at, stride, n, width : int
        Bytes before the first row, from row to row, rows, and bytes of a row that are taken.
    blocks : ndarray of uint8
        Whole blocks of `width` columns.
    position : int
        Place of the first row among the codes of the blocks.
    """
    i = 0
    while i < n:
        block, lane = (position + i) // _COLUMN, (position + i) % _COLUMN
        start = at + i * stride
        target = block * width * _COLUMN
        if lane == 0 and n - i >= _COLUMN and width >= 8:
            for j in range(0, width - 7, 8):
                simd.columns(rows, start + j, stride, blocks, target + j * _COLUMN)
            if width % 8:  # the last eight once more, rather than bytes of the next row
                j = width - 8
                simd.columns(rows, start + j, stride, blocks, target + j * _COLUMN)
            i += _COLUMN
            continue
        for j in range(width):
            blocks[target + j * _COLUMN + lane] = rows[start + j]
        i += 1
