"""word2vec binary: a header line, then word, space, float32 values (little-endian) per row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embcompress.formats.base import Batch, RowReader, drop_non_finite, fail
from embcompress.formats.detect import Layout
from embcompress.formats.sources import Stream

__all__ = ["BinaryReader"]

_WINDOW = 4 << 20
_LONGEST_WORD = 1 << 16


class BinaryReader(RowReader):
    """Reads word2vec ``.bin`` files, with or without a newline after each row."""

    def __init__(self, stream: Stream, layout: Layout, *, skip_bad: bool) -> None:
        super().__init__(
            stream.name, layout.format, layout.n_features, layout.n_rows, skip_bad=skip_bad
        )
        self._stream = stream
        self._width = 4 * layout.n_features
        self._n_done = 0
        self._promised = layout.n_rows or 0
        self._check_promise()
        self._buffer = np.empty(max(_WINDOW, 2 * self._width + _LONGEST_WORD), dtype=np.uint8)
        self._lo = self._hi = 0
        self._at_end = False
        self._stream.readinto(memoryview(bytearray(layout.start)))

    @property
    def position(self) -> int:
        """Bytes of the file on disk that are done."""
        return self._stream.position

    def close(self) -> None:
        """Close the files."""
        self._stream.close()

    def read(self, out: npt.NDArray[np.float32]) -> Batch | None:
        """Fill the first rows of `out`; None at the end."""
        while self._n_done < self._promised:
            batch = self._split(out[: self._promised - self._n_done])
            if len(batch.lengths):
                self._n_done += len(batch.lengths)
                batch = drop_non_finite(self, out, batch)
                if len(batch.lengths):
                    return batch
            elif not self._refill():
                self._refuse_end()
        self._check_end()
        return None

    def _split(self, out: npt.NDArray[np.float32]) -> Batch:
        from embcompress.formats.kernel_words import gather_words, split_rows

        room = min(len(out), (self._hi - self._lo) // self._width + 1)
        words = np.empty((room, 3), dtype=np.int64)
        state = np.zeros(2, dtype=np.int64)
        flat = out[:room].reshape(-1).view(np.uint8)
        split_rows(self._buffer, self._lo, self._hi, self._width, flat, room, words, state)
        self._lo, n = state.tolist()
        lengths = words[:n, 1] - words[:n, 0]
        blob = np.empty(int(lengths.sum()), dtype=np.uint8)
        gather_words(self._buffer, words, 0, n, blob)
        return Batch(blob, lengths, words[:n, 2] + self._n_done + 1)

    def _refill(self) -> bool:
        """Move the rest to the front and read on; False if nothing more came."""
        rest = self._hi - self._lo
        if self._at_end or rest == len(self._buffer):
            return False
        self._buffer[:rest] = self._buffer[self._lo : self._hi].copy()
        n = self._stream.readinto(self._buffer.data[rest:])
        self._at_end = n < len(self._buffer) - rest
        self._lo, self._hi = 0, rest + n
        return n > 0

    def _check_promise(self) -> None:
        size = self._stream.size
        least = self._promised * (self._width + 1)
        if (size and least > size) or self._width > 1 << 28:
            fail(
                self.name,
                f"the header promises {self._promised} rows of {self.n_features} dimensions, at "
                f"least {least} bytes; the file has {size or 'fewer'} bytes; is it complete?",
            )

    def _refuse_end(self) -> None:
        if self._hi - self._lo == len(self._buffer):
            fail(self.name, f"row {self._n_done + 1}: the word does not end; is the file damaged?")
        fail(
            self.name,
            f"the header promises {self._promised} rows, the file ends in row {self._n_done + 1}; "
            "is it complete?",
        )

    def _check_end(self) -> None:
        rest = self._buffer[self._lo : self._hi].tobytes().lstrip(b"\r\n")
        if rest or (not self._at_end and self._stream.readinto(memoryview(bytearray(16))) > 1):
            fail(
                self.name,
                f"more data follows the {self._promised} rows that the header promises; "
                f"limit={self._promised} reads only those",
            )
