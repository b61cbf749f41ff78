"""Codes of an index as they lie in memory: rows as they came, or blocks of columns.

Both are values: what changes makes a new one and leaves those that searches still hold as they
were. Blocks share their memory with the ones they grew from, which do not look beyond their own
last code.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes

__all__ = [
    "COLUMN",
    "GROUP_CODES",
    "Blocks",
    "Piece",
    "Rows",
    "Scales",
    "Storage",
    "allowed_words",
    "is_mapped",
]

#: Codes of a block; that of `simd`, which is not loaded before something is compiled.
COLUMN = 64
#: Memory grows by, and searches are divided into, whole groups of this many codes.
GROUP_CODES = 2 * COLUMN
# bytes of rows that are laid into blocks at a time, when they are not kept
_STREAMED = 1 << 20
# bytes of blocks per call of a kernel: between calls an interrupt is noticed
_CALL = 256 << 20


@dataclass(frozen=True)
class Piece:
    """Codes in blocks, for one call of a kernel."""

    blocks: Codes
    """Flat array of blocks."""
    first: int
    """First block of the piece in `blocks`."""
    last: int
    """Behind the last block in `blocks`."""
    start: int
    """First block of the piece among those of the index."""


def allowed_words(n: int, chosen: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.int64]:
    """For each block a word whose bits say which of its codes may be found.

    Parameters
    ----------
    n : int
        Number of codes.
    chosen : ndarray of bool, shape (n,), optional
        By default all.

    Returns
    -------
    ndarray of int64
        For whole groups of blocks.
    """
    n_groups = -(-n // GROUP_CODES)
    truths = np.zeros(n_groups * GROUP_CODES, dtype=np.bool_)
    truths[:n] = True if chosen is None else chosen
    return np.packbits(truths, bitorder="little").view(np.int64)


@dataclass(frozen=True, eq=False)
class Rows:
    """Codes row by row, in the arrays that they came in.

    Parameters
    ----------
    width : int
        Bytes of a code.
    chunks : tuple of ndarray of uint8, shape (m, at least `width`)
        C-contiguous; may be read-only and lie in a file. Bytes of a row behind `width` are not
        read.
    """

    width: int
    chunks: tuple[Codes, ...] = ()
    laid_out: ClassVar[bool] = False

    def in_blocks(self) -> Blocks:
        """The same codes in blocks; copied."""
        blocks = _aligned(_room(self.n, self.width))
        _lay(self, 0, self.n, blocks, 0)
        return Blocks(self.width, self.n, blocks)

    @cached_property
    def n(self) -> int:
        """Number of codes."""
        return sum(len(chunk) for chunk in self.chunks)

    @cached_property
    def allowed(self) -> npt.NDArray[np.int64]:
        """Words that allow every code."""
        return allowed_words(self.n)

    def appended(self, codes: Codes) -> Rows:
        """With more codes behind; the array is kept, not copied."""
        return Rows(self.width, (*self.chunks, codes))

    def taken(self, keep: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Rows:
        """Some of the codes, by a mask or in the order of row numbers; copied."""
        return Rows(self.width, (self.rows(0, self.n)[keep],))

    def rows(self, start: int, stop: int) -> Codes:
        """Some codes row by row, shape (stop - start, width)."""
        parts = []
        for chunk in self.chunks:
            part = chunk[max(start, 0) : max(stop, 0), : self.width]
            if len(part):
                parts.append(part)
            start, stop = start - len(chunk), stop - len(chunk)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, self.width), np.uint8)

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """Blocks `first` to `last`, a few at a time, in memory that is used again."""
        step = max(2, _STREAMED // (self.width * GROUP_CODES) * 2)
        room = _aligned(min(step, max(last - first, 2)) * COLUMN * self.width)
        for start in range(first, last, step):
            stop = min(start + step, last)
            _lay(self, start * COLUMN, min(stop * COLUMN, self.n), room, 0)
            yield Piece(room, 0, stop - start, start)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Codes in blocks of columns; see :mod:`embcompress.index.kernels`."""

    width: int
    n: int
    memory: Codes
    """Flat array; has room for more codes than there are."""
    laid_out: ClassVar[bool] = True

    def in_blocks(self) -> Blocks:
        """Itself."""
        return self

    @cached_property
    def allowed(self) -> npt.NDArray[np.int64]:
        """Words that allow every code."""
        return allowed_words(self.n)

    def appended(self, codes: Codes) -> Blocks:
        """With more codes behind, in the same memory if it has room."""
        memory, n = self.memory, self.n + len(codes)
        needed = _room(n, self.width)
        if needed > memory.size:
            memory = _aligned(max(needed, self.memory.size * 3 // 2))
            used = _room(self.n, self.width)
            memory[:used] = self.memory[:used]
        _lay(Rows(self.width, (codes,)), 0, len(codes), memory, self.n)
        return Blocks(self.width, n, memory)

    def taken(self, keep: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Blocks:
        """Some of the codes, by a mask or in the order of row numbers; copied."""
        return Rows(self.width, (np.ascontiguousarray(self.rows(0, self.n)[keep]),)).in_blocks()

    def rows(self, start: int, stop: int) -> Codes:
        """Some codes row by row, shape (stop - start, width)."""
        if stop <= start:
            return np.empty((0, self.width), np.uint8)
        first, last = start // COLUMN, -(-stop // COLUMN)
        size = self.width * COLUMN
        columns = self.memory[first * size : last * size].reshape(-1, self.width, COLUMN)
        rows = columns.transpose(0, 2, 1).reshape(-1, self.width)
        return rows[start - first * COLUMN : stop - first * COLUMN]

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """Blocks `first` to `last`."""
        step = max(2, _CALL // (self.width * GROUP_CODES) * 2)
        for start in range(first, last, step):
            yield Piece(self.memory, start, min(start + step, last), start)


Storage = Rows | Blocks


@dataclass(frozen=True, eq=False)
class Scales:
    """Positive factors of the scores of codes; an immutable value."""

    values: npt.NDArray[np.float32]
    """Shape (n,)."""

    @cached_property
    def filled(self) -> npt.NDArray[np.float32]:
        """With ones behind, for whole groups of blocks."""
        return np.pad(self.values, (0, -len(self.values) % GROUP_CODES), constant_values=1)

    @cached_property
    def inverse(self) -> npt.NDArray[np.float32]:
        """One by each, for whole groups of blocks."""
        return np.reciprocal(self.filled)


def is_mapped(codes: Codes) -> bool:
    """Whether codes are a read-only, contiguous memory map: nobody changes them."""
    if codes.flags.writeable or not codes.flags.c_contiguous:
        return False
    base: object = codes
    while isinstance(base, np.ndarray):
        if base.flags.writeable:  # a view of it may be read-only all the same
            return False
        base = base.base
    return isinstance(getattr(base, "obj", base), mmap.mmap)


def _room(n: int, width: int) -> int:
    """Bytes of whole groups of blocks."""
    return -(-n // GROUP_CODES) * GROUP_CODES * width


def _aligned(n_bytes: int) -> Codes:
    """Zeros that begin at a multiple of 64 bytes: whole vectors lie in one line of the cache."""
    raw = np.zeros(n_bytes + COLUMN, dtype=np.uint8)
    start = -raw.ctypes.data % COLUMN
    return raw[start : start + n_bytes]


def _lay(rows: Rows, start: int, stop: int, memory: Codes, position: int) -> None:
    """Lay codes `start` to `stop` of rows into blocks, from a position among their codes on."""
    from embcompress.index.kernels.layout import to_blocks  # compiled code, not before it is used

    for chunk in rows.chunks:
        first, last = max(start, 0), min(stop, len(chunk))
        if first < last:
            stride = chunk.shape[1]
            to_blocks(
                chunk.reshape(-1),
                first * stride,
                stride,
                last - first,
                rows.width,
                memory,
                position,
            )
            position += last - first
        start, stop = start - len(chunk), stop - len(chunk)
