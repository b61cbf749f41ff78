"""How a pruned matrix becomes dense blocks for runtimes that know only dense products.

A block is a set of outputs and the inputs that they share: the inputs are gathered, multiplied by a
small dense matrix, and the outputs of all blocks are put together. The costs were measured in
onnxruntime 1.32, one thread, between 1 and 64 rows at a time, and are counted in weights of a dense
product: a block costs about 16 000 besides its weights, a gathered input 100, an
output that must be put in its place 40. So blocks of 16 rows
never pay, those of 128 rows and more do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.runtime.matrices import classes

__all__ = ["Block", "cut_blocks", "in_order", "places"]

_BLOCK, _GATHERED = 16_000, 100
# an output that is put in its place or added up, each time
_PLACED = 40
# blocks are written where they cost at most this share of the dense product
_GAIN = 0.75
# with more kinds of rows than this zeros have no structure that blocks could use
_MOST_KINDS = 512

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Block:
    """Outputs and the inputs that they share, both in ascending order."""

    rows: Ints
    columns: Ints


def _cost(rows: Any, columns: Any, positions: int) -> Any:
    """In weights of a dense product; of numbers or arrays."""
    return columns * (rows * positions + _GATHERED) + float(_BLOCK)


def cut_blocks(kept: Bools, positions: int = 1) -> list[Block] | None:
    """Cut a matrix into blocks where that costs at most 3/4 of the dense product.

    Rows that keep nothing are in no block. Two ways are tried: rows that read nearly the same
    inputs, and inputs that are read by nearly the same rows.

    Parameters
    ----------
    kept : ndarray of bool, shape (rows, columns)
    positions : int, default 1
        Weights that go with each pair, such as 9 in a kernel of 3x3.

    Returns
    -------
    list of Block, or None
        None: the matrix stays dense.
    """
    best, least = None, _GAIN * kept.size * positions
    for transposed in (False, True):
        found = _merged(kept.T if transposed else kept, transposed, positions)
        if found is None:
            continue
        total = sum(_cost(len(block.rows), len(block.columns), positions) for block in found)
        index, _ = places(found, len(kept))
        total += 0 if in_order(index) else _PLACED * index.size
        if total < least:
            best, least = found, total
    return best


def _merged(kept: Bools, transposed: bool, positions: int) -> list[Block] | None:
    """Join groups of equal rows, the cheapest first, as long as a joint block costs less."""

    def cost(lines: Any, shared: Any) -> Any:
        rows, columns = (shared, lines) if transposed else (lines, shared)
        return _cost(rows, columns, positions)

    groups = [group for group in classes(kept) if kept[group[0]].any()]
    if len(groups) > _MOST_KINDS:
        return None
    patterns = np.array([kept[group[0]] for group in groups]).reshape(len(groups), kept.shape[1])
    floats, counts = patterns.astype(np.float32), patterns.sum(axis=1)
    sizes = np.array([len(group) for group in groups])
    left = np.ones(len(groups), bool)
    blocks = []
    while left.any():
        members = [int(np.flatnonzero(left)[0])]
        left[members[0]] = False
        joint = patterns[members[0]].copy()
        while left.any():
            # how many inputs each group would add
            more = counts - (floats @ joint).astype(np.int64)
            size, n_shared = sizes[members].sum(), joint.sum()
            gains = cost(size, n_shared) + cost(sizes, counts) - cost(size + sizes, n_shared + more)
            best = int(np.where(left, gains, -np.inf).argmax())
            if gains[best] <= 0:
                break
            members.append(best)
            left[best] = False
            joint |= patterns[best]
        lines = np.sort(np.concatenate([groups[k] for k in members]))
        shared = np.flatnonzero(joint)
        blocks.append(Block(shared, lines) if transposed else Block(lines, shared))
    return blocks


def places(blocks: Sequence[Block], n_rows: int) -> tuple[npt.NDArray[np.int32], bool]:
    """Where the outputs of the blocks, one after the other, belong.

    Parameters
    ----------
    blocks : sequence of Block
    n_rows : int
        Outputs of the matrix.

    Returns
    -------
    index : ndarray of int32, shape (layers, n_rows)
        The output of row r is the sum of the numbers ``index[:, r]``; what is one past the last
        number stands for 0.
    needs_zero : bool
        Whether any does.
    """
    rows = np.concatenate([np.zeros(0, np.int64), *(block.rows for block in blocks)])
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=n_rows)
    index = np.full((max(int(counts.max(initial=0)), 1), n_rows), len(rows), np.int32)
    starts = np.cumsum(counts) - counts
    layer = np.arange(len(rows)) - starts[rows[order]]
    index[layer, rows[order]] = order
    return index, bool((index == len(rows)).any())


def in_order(index: npt.NDArray[np.int32]) -> bool:
    """Whether the outputs of the blocks, one after the other, are those of the matrix."""
    return len(index) == 1 and bool((index[0] == np.arange(index.shape[1])).all())
