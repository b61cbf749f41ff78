"""Whole lines of a text, some megabytes at a time: mapped where the file is plain, else copied."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from embcompress.formats.base import fail
from embcompress.formats.sources import Stream

__all__ = ["Windows", "open_windows"]

_LONGEST_LINE = 256 << 20
# Bytes per thread. A copy should stay in the cache; a map only has to hide the calls.
_COPIED, _MAPPED = 4 << 20, 16 << 20


class Windows(ABC):
    """Ranges of whole lines, front to back.

    Attributes
    ----------
    buffer : ndarray of uint8
        What the ranges are in; may be another array after each call of :meth:`next`.
    """

    buffer: npt.NDArray[np.uint8]

    @abstractmethod
    def next(self, line: int) -> tuple[int, int] | None:
        """The next range (start, stop) of `buffer`; None at the end.

        Parameters
        ----------
        line : int
            Number of the first line of the range, for a message.
        """

    @abstractmethod
    def position(self, lo: int) -> int:
        """Bytes of the file on disk that are done when `buffer` is, up to `lo`."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


def open_windows(stream: Stream, start: int, n_threads: int) -> Windows:
    """Windows of a stream, large enough for some threads.

    Parameters
    ----------
    stream : Stream
    start : int
        Bytes to pass over at the beginning.
    n_threads : int

    Returns
    -------
    Windows
    """
    if stream.is_plain:
        return _MappedWindows(stream, start, _MAPPED * n_threads)
    return _CopiedWindows(stream, start, _COPIED * n_threads)


class _MappedWindows(Windows):
    """Ranges of a memory map; pages that are done are given back, so memory stays bounded."""

    def __init__(self, stream: Stream, start: int, size: int) -> None:
        self._stream = stream
        with stream.path.open("rb") as file:
            # a private map: the compiled loops take writable arrays, though they write nothing
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._advise("MADV_SEQUENTIAL", 0, len(self._map))
        self.buffer = np.frombuffer(self._map, dtype=np.uint8)
        self._size = size
        self._done = start
        self._released = 0

    def next(self, line: int) -> tuple[int, int] | None:
        self._release(self._done)
        lo, total = self._done, len(self.buffer)
        if lo >= total:
            return None
        searched, stop = lo, lo
        while True:
            stop = min(stop + self._size, total)
            cut = total if stop == total else last_newline(self.buffer, searched, stop)
            if cut > 0:
                self._done = cut
                return lo, cut
            searched = stop
            check_length(self._stream.name, stop - lo, line)

    def position(self, lo: int) -> int:
        return lo

    def close(self) -> None:
        self.buffer = np.empty(0, dtype=np.uint8)
        self._stream.close()

    def _release(self, done: int) -> None:
        done -= done % mmap.PAGESIZE
        if done > self._released:
            self._advise("MADV_DONTNEED", self._released, done - self._released)
            self._released = done

    def _advise(self, advice: str, start: int, length: int) -> None:
        if hasattr(mmap, advice):  # not on every system, and only ever a hint
            self._map.madvise(getattr(mmap, advice), start, length)


class _CopiedWindows(Windows):
    """Ranges of a buffer that is filled again and again from a stream."""

    def __init__(self, stream: Stream, start: int, size: int) -> None:
        self._stream = stream
        self.buffer = np.empty(size, dtype=np.uint8)
        self._done = self._filled = 0
        self._at_end = False
        stream.readinto(np.empty(start, dtype=np.uint8).data)

    def next(self, line: int) -> tuple[int, int] | None:
        rest = self._filled - self._done
        if self._at_end and rest == 0:
            return None
        self.buffer[:rest] = self.buffer[self._done : self._filled].copy()
        self._filled, searched = rest, 0
        while True:
            view = self.buffer.data[self._filled :]
            n = self._stream.readinto(view)
            self._at_end = n < len(view)
            self._filled += n
            cut = last_newline(self.buffer, searched, self._filled)
            if self._at_end or cut > 0:
                break
            searched = self._filled
            self._widen(line)
        self._done = self._filled if self._at_end else cut
        return (0, self._done) if self._done > 0 else None

    def position(self, lo: int) -> int:
        return self._stream.position  # of the packed file, a window ahead at most

    def close(self) -> None:
        self._stream.close()

    def _widen(self, line: int) -> None:
        check_length(self._stream.name, len(self.buffer), line)
        larger = np.empty(2 * len(self.buffer), dtype=np.uint8)
        larger[: self._filled] = self.buffer[: self._filled]
        self.buffer = larger


def check_length(name: str, length: int, line: int) -> None:
    """Refuse a text without newlines."""
    if length >= _LONGEST_LINE:
        fail(
            name,
            f"line {line} is longer than {_LONGEST_LINE >> 20} MB; this is not a file of vectors",
        )


def last_newline(buffer: npt.NDArray[np.uint8], lo: int, hi: int) -> int:
    """Position after the last newline in ``buffer[lo:hi]``, 0 if there is none."""
    step = 1 << 16
    while hi > lo:
        start = max(lo, hi - step)
        found = buffer[start:hi].tobytes().rfind(b"\n")
        if found >= 0:
            return start + found + 1
        hi = start
    return 0
