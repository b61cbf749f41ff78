"""Schemes of blocks: whole ones, or rows and columns inside each.

The last block takes the remainder: 39 columns in 4 blocks are 9, 9, 9 and 12, as in the released
models of RTMobile (Dong et al., DAC 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from embcompress.pruning.base import (
    GroupScheme,
    as_matrix,
    check_count,
    check_sparsity,
    keep_top,
    kept_count,
)

__all__ = ["Block", "BlockColumn", "BlockRow"]


@dataclass(frozen=True)
class Block(GroupScheme):
    """Whole blocks of the matrix.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a block; of a convolution's (O, I * kh * kw).
    sparsity : float
        Fraction of the blocks removed, in [0, 1).
    """

    shape: tuple[int, int]
    sparsity: float
    layout = "bspc"

    def __post_init__(self) -> None:
        if len(self.shape) != 2:
            raise ValueError(f"shape={self.shape} must be two numbers: rows and columns of a block")
        for count, name in zip(self.shape, ("rows of a block", "columns of a block"), strict=True):
            check_count(count, name)
        check_sparsity(self.sparsity)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        _sizes(self, shape[0], width=self.shape[0])
        _sizes(self, _columns(shape), width=self.shape[1])

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        matrix = as_matrix(tensor)
        sums = _sum_segments(matrix, _sizes(self, matrix.shape[1], width=self.shape[1]), 1)
        sums = _sum_segments(sums, _sizes(self, matrix.shape[0], width=self.shape[0]), 0)
        return sums.reshape(-1)

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per block (row by row of blocks), spread over the blocks."""
        rows = _sizes(self, shape[0], width=self.shape[0])
        columns = _sizes(self, _columns(shape), width=self.shape[1])
        blocks = values.reshape(len(rows), len(columns))
        return _spread(_spread(blocks, columns, 1), rows, 0).reshape(shape)


@dataclass(frozen=True)
class BlockRow(GroupScheme):
    """Rows inside each block of columns.

    With ``balanced``, the same fraction of rows leaves each block; otherwise the smallest of all
    leave. The row phase of RTMobile, and BLK-REW (Ma et al., 2020) where ``height`` is given.

    Parameters
    ----------
    sparsity : float
        Fraction of the rows of the blocks removed, in [0, 1).
    n_blocks : int, default 4
        Blocks of columns; their width is rounded down, and the last takes the remainder.
    width : int, optional
        Columns of a block, instead of ``n_blocks``.
    height : int, optional
        Rows of a block, inside which the counts are balanced. Default: all rows.
    balanced : bool, default True
        Equal counts in each block.
    """

    sparsity: float
    n_blocks: int = 4
    width: int | None = None
    height: int | None = None
    balanced: bool = True
    layout = "bspc"

    def __post_init__(self) -> None:
        _check_blocks(self)

    def _across(self, columns: int) -> list[int]:
        return _sizes(self, columns, n_blocks=self.n_blocks, width=self.width)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        self._across(_columns(shape))
        _sizes(self, shape[0], width=self.height)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        matrix = as_matrix(tensor)
        return _sum_segments(matrix, self._across(matrix.shape[1]), 1).reshape(-1)

    def _keep(self, norms: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if not self.balanced:
            return super()._keep(norms, shape)
        tiles = _sizes(self, shape[0], width=self.height)
        kept = _keep_segments(norms.reshape(shape[0], -1).T, tiles, self.sparsity)
        return kept.T.reshape(-1)

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per (row, block), spread over the columns of the block."""
        blocks = values.reshape(shape[0], -1)
        return _spread(blocks, self._across(_columns(shape)), 1).reshape(shape)


@dataclass(frozen=True)
class BlockColumn(GroupScheme):
    """Columns inside each block of rows: the transpose of `BlockRow`.

    The column phase of RTMobile; with ``width``, BLK-REW.

    Parameters
    ----------
    sparsity : float
        Fraction of the columns of the blocks removed, in [0, 1).
    n_blocks : int, default 4
        Blocks of rows; their height is rounded down, and the last takes the remainder.
    height : int, optional
        Rows of a block, instead of ``n_blocks``.
    width : int, optional
        Columns of a block, inside which the counts are balanced. Default: all columns.
    balanced : bool, default True
        Equal counts in each block.
    """

    sparsity: float
    n_blocks: int = 4
    height: int | None = None
    width: int | None = None
    balanced: bool = True
    layout = "bspc"

    def __post_init__(self) -> None:
        _check_blocks(self)

    def _down(self, rows: int) -> list[int]:
        return _sizes(self, rows, n_blocks=self.n_blocks, width=self.height)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        self._down(shape[0])
        _sizes(self, _columns(shape), width=self.width)

    def _sums(self, tensor: torch.Tensor) -> torch.Tensor:
        matrix = as_matrix(tensor)
        return _sum_segments(matrix, self._down(matrix.shape[0]), 0).reshape(-1)

    def _keep(self, norms: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if not self.balanced:
            return super()._keep(norms, shape)
        tiles = _sizes(self, _columns(shape), width=self.width)
        return _keep_segments(norms.reshape(-1, _columns(shape)), tiles, self.sparsity).reshape(-1)

    def expand(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """One value per (block, column), spread over the rows of the block."""
        blocks = values.reshape(-1, _columns(shape))
        return _spread(blocks, self._down(shape[0]), 0).reshape(shape)


def _check_blocks(scheme: BlockRow | BlockColumn) -> None:
    check_sparsity(scheme.sparsity)
    check_count(scheme.n_blocks, "n_blocks")
    for name in ("width", "height"):
        if getattr(scheme, name) is not None:
            check_count(getattr(scheme, name), name)


def _columns(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape[1:]).numel())


def _sizes(
    scheme: object, length: int, *, n_blocks: int = 1, width: int | None = None
) -> list[int]:
    """Lengths of the blocks of an axis; all are equal but the last, which is not shorter."""
    name = type(scheme).__name__
    if width is None:
        if n_blocks > length:
            raise ValueError(f"{name}: {n_blocks} blocks do not fit along an axis of {length}")
        width = length // n_blocks
    else:
        if width > length:
            raise ValueError(f"{name}: a block of {width} does not fit along an axis of {length}")
        n_blocks = length // width
    return [width] * (n_blocks - 1) + [length - width * (n_blocks - 1)]


def _sum_segments(matrix: torch.Tensor, sizes: list[int], axis: int) -> torch.Tensor:
    """Sums along an axis over each block of it."""
    last = sizes[-1]
    head, tail = matrix.split([matrix.shape[axis] - last, last], dim=axis)
    sums = [tail.sum(axis, keepdim=True)]
    if len(sizes) > 1:
        sums.insert(0, head.unflatten(axis, (-1, sizes[0])).sum(axis + 1))
    return torch.cat(sums, axis)


def _spread(values: torch.Tensor, sizes: list[int], axis: int) -> torch.Tensor:
    """Repeat each value along an axis over its block."""
    repeats = torch.tensor(sizes, device=values.device)
    return values.repeat_interleave(repeats, dim=axis, output_size=sum(sizes))


def _keep_segments(norms: torch.Tensor, sizes: list[int], sparsity: float) -> torch.Tensor:
    """Mark the largest of each block of the last axis, the same fraction in all."""
    head, tail = norms[..., : -sizes[-1]], norms[..., -sizes[-1] :]
    kept = [keep_top(tail, kept_count(sizes[-1], sparsity))]
    if len(sizes) > 1:
        tiles = head.unflatten(-1, (-1, sizes[0]))
        kept.insert(0, keep_top(tiles, kept_count(sizes[0], sparsity)).flatten(-2))
    return torch.cat(kept, -1)
