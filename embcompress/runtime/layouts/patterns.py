"""Masks of kernels and short vectors as numbers: bit i is set if position i is kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embcompress.runtime.layouts.base import Layout

__all__ = ["LONGEST", "check_patterns", "pattern_masks", "pattern_type", "patterns_of"]

LONGEST = 64


def patterns_of(kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Pattern of each row of a mask of shape (n, length), length at most 64."""
    packed = np.packbits(kept, axis=1, bitorder="little")
    words = np.zeros((len(kept), 8), np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view("<u8")[:, 0]


def pattern_masks(patterns: npt.NDArray, length: int) -> npt.NDArray[np.bool_]:
    """Inverse of `patterns_of`: bool of shape (n, length)."""
    words = np.ascontiguousarray(patterns, "<u8").view(np.uint8).reshape(-1, 8)
    return np.unpackbits(words, axis=1, bitorder="little", count=length).astype(np.bool_)


def pattern_type(length: int) -> np.dtype:
    """Type of a table of patterns: uint16, or what 17 to 32 or 33 to 64 positions need."""
    return np.dtype("<u2" if length <= 16 else "<u4" if length <= 32 else "<u8")


def check_patterns(layout: Layout, patterns: npt.NDArray, length: int) -> None:
    """Raise `FormatError` unless patterns ascend, keep something, and have so many places."""
    values = patterns.astype(object)  # 64 bits are more than a signed number has
    for at, pattern in enumerate(values):
        if not 0 < pattern < 1 << length:
            layout._fail(
                f"array 'patterns' holds {pattern:#x} at entry {at}, "
                f"expected bits among the lowest {length}"
            )
        if at and pattern <= values[at - 1]:
            layout._fail(
                f"array 'patterns' is out of order at entry {at}: {pattern:#x} after "
                f"{values[at - 1]:#x}, expected more"
            )
