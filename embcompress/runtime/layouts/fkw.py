"""Filter-kernel-weight: kernels with patterns, after filters and kernels were reordered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout, Misfit, lengths_of, smallest_uint, starts_of
from embcompress.runtime.layouts.patterns import (
    LONGEST,
    check_patterns,
    pattern_masks,
    pattern_type,
    patterns_of,
)

if TYPE_CHECKING:
    from typing import Self

__all__ = ["FKW"]

# Every filter counts its kernels of each pattern: that does not pay if masks hardly repeat.
MOST_PATTERNS = 4096


@dataclass(frozen=True, eq=False)
class FKW(Layout):
    """Kernels by filter and pattern, after the filter-kernel reorder of PatDNN (ASPLOS 2020).

    Every mask that a kernel has is a pattern of the table, so kernels may keep different numbers
    of weights. Empty kernels and filters are not stored. Filters are ordered by their number of
    kernels, then so that those which begin with the same patterns on the same channels are
    neighbours, then by number; the kernels of a filter by pattern, then by channel.

    Attributes
    ----------
    patterns : ndarray of uint16, shape (P,)
        Masks of kernels, ascending: bit ``y * kw + x`` is set if that place is kept. uint32 for
        kernels of 17 to 32 places, uint64 for 33 to 64.
    reorder : ndarray of the smallest type for O - 1, shape (F,)
        Output channel of each stored filter.
    offset : ndarray of the smallest type for the number of kernels, shape (F + 1,)
        Where the kernels of each filter start; last, their number.
    stride : ndarray of the smallest type for I, shape (F, P + 1)
        Where the kernels of each pattern start, counted from the first of the filter; last, the
        kernels of the filter.
    index : ndarray of the smallest type for I - 1, shape (kernels,)
        Input channel of each kernel.
    weights : ndarray of shape (n,)
        By kernel, then place in the kernel. A kernel has as many as its pattern has bits set.
    """

    patterns: npt.NDArray[np.unsignedinteger]
    reorder: npt.NDArray[np.unsignedinteger]
    offset: npt.NDArray[np.unsignedinteger]
    stride: npt.NDArray[np.unsignedinteger]
    index: npt.NDArray[np.unsignedinteger]
    name = "fkw"

    @classmethod
    def _pack(cls, weight: npt.NDArray, kept: npt.NDArray[np.bool_]) -> Self:
        if weight.ndim != 4:
            raise Misfit(f"fkw holds kernels, (O, I, kh, kw), not a weight of {weight.shape}")
        length = _length(weight.shape)
        n_filters, n_channels = weight.shape[:2]
        kept = kept.reshape(-1, length)
        patterns, codes = np.unique(patterns_of(kept), return_inverse=True)
        codes = codes.reshape(n_filters, n_channels)
        if len(patterns) > MOST_PATTERNS:
            raise Misfit(
                f"fkw: kernels have {len(patterns)} different masks; a table has {MOST_PATTERNS}"
            )
        if patterns[0] == 0:  # absent kernels: -1, not in the table
            patterns, codes = patterns[1:], codes - 1
        reorder = _filter_order(codes)
        codes = codes[reorder]
        stride = _stride(codes, len(patterns))
        order = np.argsort(codes, axis=1, kind="stable")
        index = order[np.take_along_axis(codes, order, 1) >= 0]
        offset = starts_of(stride[:, -1])
        kernels = np.repeat(reorder, stride[:, -1]) * n_channels + index
        return cls(
            weight.shape,
            weight.reshape(-1, length)[kernels][kept[kernels]],
            patterns.astype(pattern_type(length)),
            reorder.astype(smallest_uint(n_filters - 1)),
            offset.astype(smallest_uint(len(index))),
            stride.astype(smallest_uint(n_channels)),
            index.astype(smallest_uint(n_channels - 1)),
        )

    def _codes(self) -> npt.NDArray[np.int64]:
        """Place in the table of the pattern of each kernel."""
        n_filters, n_patterns = len(self.reorder), len(self.patterns)
        wide = self.stride.astype(np.int64)
        counts = wide[:, 1:] - wide[:, :-1]
        return np.repeat(np.tile(np.arange(n_patterns), n_filters), counts.ravel())

    def _write(self, matrix: npt.NDArray, weights: npt.NDArray) -> None:
        n_channels, length = self.shape[1], _length(self.shape)
        counts = lengths_of(self.offset)
        kernels = np.repeat(self.reorder.astype(np.int64), counts) * n_channels + self.index
        stored = np.zeros((len(kernels), length), matrix.dtype)
        stored[pattern_masks(self.patterns, length)[self._codes()]] = weights
        matrix.reshape(-1, length)[kernels] = stored

    def _check(self) -> None:
        if len(self.shape) != 4:
            self._fail(f"shape {self.shape}, expected (O, I, kh, kw)")
        length = _length(self.shape)
        n_filters, n_channels = self.shape[:2]
        self._expect("weights", self.weights.dtype, (None,))
        self._expect("patterns", pattern_type(length), (None,))
        check_patterns(self, self.patterns, length)
        self._expect("reorder", smallest_uint(n_filters - 1), (None,))
        self._check_filters(n_filters)
        self._expect("index", smallest_uint(n_channels - 1), (None,))
        n_kernels = len(self.index)
        self._expect("offset", smallest_uint(n_kernels), (len(self.reorder) + 1,))
        self._expect_offsets("offset", n_kernels, least=1)
        self._expect(
            "stride", smallest_uint(n_channels), (len(self.reorder), len(self.patterns) + 1)
        )
        self._check_stride()
        counts = np.diff(self.stride.astype(np.int64), axis=1).ravel()
        self._expect_lists("index", n_channels, counts)
        kernels = np.repeat(self.reorder.astype(np.int64), lengths_of(self.offset))
        if len(np.unique(kernels * n_channels + self.index)) != n_kernels:
            self._fail("array 'index' names a channel twice in a filter, expected once")
        n = int(np.bitwise_count(self.patterns)[self._codes()].sum(dtype=np.int64))
        self._expect("weights", self.weights.dtype, (n,))

    def _check_filters(self, n_filters: int) -> None:
        """Raise unless the stored filters are different ones of those that there are."""
        self._expect_lists("reorder", n_filters, np.ones(len(self.reorder), np.int64))
        if len(np.unique(self.reorder)) < len(self.reorder):
            self._fail("array 'reorder' names a filter twice, expected once")

    def _check_stride(self) -> None:
        """Raise unless each row ascends from 0 to the number of kernels of its filter."""
        stride = self.stride.astype(np.int64)
        counts = lengths_of(self.offset)
        right = (stride[:, 0] == 0) & (stride[:, -1] == counts) & (np.diff(stride) >= 0).all(1)
        wrong = np.flatnonzero(~right)
        if len(wrong):
            row = wrong[0]
            self._fail(
                f"row {row} of array 'stride' is {stride[row].tolist()}, "
                f"expected to ascend from 0 to {counts[row]}, the kernels of the filter"
            )


def _length(shape: tuple[int, ...]) -> int:
    length = shape[2] * shape[3]
    if length > LONGEST:
        raise Misfit(
            f"fkw: kernels of {shape[2]}x{shape[3]} have {length} places; a pattern has {LONGEST}"
        )
    return length


def _stride(codes: npt.NDArray[np.int64], n_patterns: int) -> npt.NDArray[np.int64]:
    """Where the kernels of each pattern start in each filter, (F, P + 1); codes are -1 or more."""
    width = n_patterns + 1
    place = np.arange(len(codes))[:, None] * width + codes + 1
    counts = np.bincount(place.ravel(), minlength=len(codes) * width).reshape(len(codes), width)
    counts[:, 0] = 0  # absent kernels
    return np.cumsum(counts, axis=1)


def _filter_order(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Filters that have kernels, by their number, then by pattern on each channel."""
    counts = np.count_nonzero(codes >= 0, axis=1)
    # From the last key to the first; absent kernels come after all patterns.
    by_channel = np.where(codes < 0, np.iinfo(np.int64).max, codes)
    order = np.lexsort((*by_channel.T[::-1], counts))
    return order[counts[order] > 0]
