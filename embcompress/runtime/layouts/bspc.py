"""Block-based structured pruning compact: groups of rows that share a list of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout, lengths_of, smallest_uint, starts_of

if TYPE_CHECKING:
    from typing import Self

__all__ = ["BSPC"]

LANES = 16
# Row blocks, inside which columns are grouped, that are tried.
_TILES = (1, 2, 4, 8, 16)


class _Lists(NamedTuple):
    """Ascending lists of numbers, one after the other."""

    counts: npt.NDArray[np.int64]
    values: npt.NDArray[np.int64]


class _Groups(NamedTuple):
    """The rows and the columns of each group: all pairs of them are stored."""

    rows: _Lists
    columns: _Lists


@dataclass(frozen=True, eq=False)
class BSPC(Layout):
    """Groups of rows that share a list of columns.

    The arrays are those that the patent of RTMobile names; their contents, and the two arrays
    of bits, are ours. Groups are disjoint, but a row may lie in several, whose products add.
    A list of numbers that follow each other (a run) is stored as its first number.

    Groups are rows with equal lists of columns; or columns with equal lists of rows, in the
    whole matrix or in each of 2, 4, 8 or 16 blocks of rows: whichever takes the fewest bytes.
    The former suits columns that left blocks of rows, the latter rows that left blocks of
    columns.

    Attributes
    ----------
    reorder : ndarray of the smallest type for O - 1
        Rows of each group, ascending; of a run, the first.
    filter_offset : ndarray of the smallest type for n, shape (G + 1,)
        Where the weights of each group start; last, n. Divided by ``stride``, the differences
        are the numbers of rows.
    stride : ndarray of the smallest type for K, shape (G,)
        Number of columns of each group, 1 or more.
    column_index : ndarray of the smallest type for K - 1
        Columns of each group, ascending; of a run, the first.
    register_load : ndarray of the smallest type for ceil(K / 16), shape (G,)
        ``ceil(stride / 16)``: registers of inputs that are loaded once for all rows of a group.
    row_runs, column_runs : ndarray of uint8, shape (ceil(G / 8),)
        A bit for each group, from the highest of the first byte on: whether its rows, its
        columns, are a run.
    weights : ndarray of shape (n,)
        By group, row and column.
    """

    reorder: npt.NDArray[np.unsignedinteger]
    filter_offset: npt.NDArray[np.unsignedinteger]
    stride: npt.NDArray[np.unsignedinteger]
    column_index: npt.NDArray[np.unsignedinteger]
    register_load: npt.NDArray[np.unsignedinteger]
    row_runs: npt.NDArray[np.uint8]
    column_runs: npt.NDArray[np.uint8]
    name = "bspc"

    @classmethod
    def _pack(cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_]) -> Self:
        matrix, kept = weight.reshape(len(weight), -1), kept.reshape(len(weight), -1)
        forms = [_by_rows(kept)]
        forms += [_by_columns(kept, n) for n in _TILES if n <= len(kept)]
        indices = [_index(groups, *kept.shape) for groups in forms]
        best = min(range(len(forms)), key=lambda i: sum(a.nbytes for a in indices[i].values()))
        return cls(weight.shape, matrix[_places(forms[best])], **indices[best])

    def _groups(self) -> _Groups:
        stride = self.stride.astype(np.int64)
        n_rows = lengths_of(self.filter_offset) // stride
        return _Groups(
            _Lists(n_rows, _long(self.reorder, self.row_runs, n_rows)),
            _Lists(stride, _long(self.column_index, self.column_runs, stride)),
        )

    def _write(self, matrix: npt.NDArray, weights: npt.NDArray) -> None:
        matrix[_places(self._groups())] = weights

    def _check(self) -> None:
        n_rows, n_columns = self._matrix_shape
        self._expect("weights", self.weights.dtype, (None,))
        n = len(self.weights)
        self._expect("stride", smallest_uint(n_columns), (None,))
        n_groups = len(self.stride)
        if n_groups and not 1 <= self.stride.min() <= self.stride.max() <= n_columns:
            self._fail(
                f"array 'stride' holds {self.stride.min()} to {self.stride.max()}, "
                f"expected 1 to {n_columns}"
            )
        self._expect("filter_offset", smallest_uint(n), (n_groups + 1,))
        self._expect_offsets("filter_offset", n, least=1)
        self._check_whole_rows()
        self._expect("register_load", smallest_uint(_loads(n_columns)), (n_groups,))
        if not np.array_equal(self.register_load, _loads(self.stride.astype(np.int64))):
            self._fail("array 'register_load' is not ceil(stride / 16)")
        self._expect_bits("row_runs", n_groups)
        self._expect_bits("column_runs", n_groups)
        for name, runs, stop in (
            ("reorder", "row_runs", n_rows),
            ("column_index", "column_runs", n_columns),
        ):
            self._check_list(name, runs, stop)
        if np.count_nonzero(self.mask()) != n:
            self._fail("groups overlap: a place of the matrix has several weights, expected one")

    def _check_whole_rows(self) -> None:
        """Raise unless the weights of each group are whole rows."""
        sizes = lengths_of(self.filter_offset)
        wrong = np.flatnonzero(sizes % self.stride)
        if len(wrong):
            group = wrong[0]
            self._fail(
                f"group {group} of array 'filter_offset' has {sizes[group]} weights, "
                f"expected a multiple of its stride {self.stride[group]}"
            )

    def _check_list(self, name: str, runs: str, stop: int) -> None:
        """Raise unless the stored lists have the right lengths and numbers."""
        stride = self.stride.astype(np.int64)
        counts = stride
        if name == "reorder":
            counts = lengths_of(self.filter_offset) // stride
        is_run = _bits(getattr(self, runs), len(counts))
        self._expect(name, smallest_uint(stop - 1), (int(np.where(is_run, 1, counts).sum()),))
        values = _long(getattr(self, name), getattr(self, runs), counts)
        self._expect_lists(name, stop, counts, values)


def _by_rows(kept: npt.NDArray[np.bool_]) -> _Groups:
    """Groups of rows with equal lists of columns, by their first row."""
    packed = np.packbits(kept, axis=1)
    width = packed.shape[1]
    buffer = packed.tobytes()
    known: dict[bytes, int] = {bytes(width): -1}  # empty rows are in no group
    labels = np.array(
        [
            known.setdefault(buffer[at : at + width], len(known) - 1)
            for at in range(0, len(buffer), width)
        ]
    )
    filled = np.flatnonzero(labels >= 0)
    order = filled[np.argsort(labels[filled], kind="stable")]
    counts = np.bincount(labels[filled], minlength=len(known) - 1)
    heads = kept[order[starts_of(counts)[:-1]]]
    return _Groups(
        _Lists(counts, order), _Lists(np.count_nonzero(heads, axis=1), np.nonzero(heads)[1])
    )


def _by_columns(kept: npt.NDArray[np.bool_], n_tiles: int) -> _Groups:
    """Groups of columns with equal lists of rows, in each of so many blocks of rows."""
    height = len(kept) // n_tiles
    starts = [tile * height for tile in range(n_tiles)]
    tiles = np.split(kept, starts[1:])
    # transposed: what that calls rows are columns here
    found = [_by_rows(np.ascontiguousarray(tile.T)) for tile in tiles]
    return _Groups(
        _Lists(
            np.concatenate([groups.columns.counts for groups in found]),
            np.concatenate(
                [g.columns.values + start for g, start in zip(found, starts, strict=True)]
            ),
        ),
        _Lists(
            np.concatenate([groups.rows.counts for groups in found]),
            np.concatenate([groups.rows.values for groups in found]),
        ),
    )


def _index(groups: _Groups, n_rows: int, n_columns: int) -> dict[str, npt.NDArray]:
    """All arrays but the weights."""
    stride = groups.columns.counts
    offsets = starts_of(groups.rows.counts * stride)
    reorder, row_runs = _short(groups.rows)
    column_index, column_runs = _short(groups.columns)
    return {
        "reorder": reorder.astype(smallest_uint(n_rows - 1)),
        "filter_offset": offsets.astype(smallest_uint(int(offsets[-1]))),
        "stride": stride.astype(smallest_uint(n_columns)),
        "column_index": column_index.astype(smallest_uint(n_columns - 1)),
        "register_load": _loads(stride).astype(smallest_uint(_loads(n_columns))),
        "row_runs": row_runs,
        "column_runs": column_runs,
    }


def _loads(stride: Any) -> Any:
    """Registers for so many columns."""
    return -(-stride // LANES)


def _short(lists: _Lists) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Numbers without the rest of runs, and the bits that say which lists are runs."""
    starts = starts_of(lists.counts)
    first, last = lists.values[starts[:-1]], lists.values[starts[1:] - 1]
    is_run = last - first + 1 == lists.counts
    stays = np.repeat(~is_run, lists.counts)
    stays[starts[:-1]] = True
    return lists.values[stays], np.packbits(is_run)


def _long(
    short: npt.NDArray, runs: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The numbers again, runs written out."""
    is_run = _bits(runs, len(counts))
    stored = np.where(is_run, 1, counts)
    first = short[starts_of(stored)[:-1]].astype(np.int64)
    values = np.repeat(first, counts) + _within(counts)
    values[~np.repeat(is_run, counts)] = short[~np.repeat(is_run, stored)]
    return values


def _bits(packed: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(packed, count=count).astype(np.bool_)


def _within(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0, 1, ... in each list."""
    starts = starts_of(counts)
    return np.arange(starts[-1]) - np.repeat(starts[:-1], counts)


def _places(groups: _Groups) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of each weight, in the order of the weights."""
    per_row = np.repeat(groups.columns.counts, groups.rows.counts)
    start = np.repeat(starts_of(groups.columns.counts)[:-1], groups.rows.counts)
    rows = np.repeat(groups.rows.values, per_row)
    columns = groups.columns.values[np.repeat(start, per_row) + _within(per_row)]
    return rows, columns
