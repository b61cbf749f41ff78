"""Text: GloVe (no header), word2vec and fastText .vec (a header of rows and dimensions).

The last `d` fields of a line are the numbers and all before them is the word, so a word may hold
spaces. Only space, tab, CR and LF separate. A blank line is passed over. Where a word of several
parts ends in a part such as ``0.25`` (or ``7``, if all numbers of the line are whole), the line is
taken to hold a number too many.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embcompress.formats.base import Batch, RowReader, fail, keep_rows, shortened
from embcompress.formats.detect import NUMBER, Layout
from embcompress.formats.sources import Stream
from embcompress.formats.windows import last_newline, open_windows

__all__ = ["TextReader"]

_ODD_ROOM = 4096


@dataclass
class _Part:
    """What a thread made of its range of the window."""

    lo: int
    hi: int
    row: int
    row_stop: int
    odd: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]
    n_lines: int = 0


class TextReader(RowReader):
    """Reads lines of a word and numbers; see the module for the rules."""

    def __init__(self, stream: Stream, layout: Layout, *, skip_bad: bool, n_threads: int) -> None:
        super().__init__(
            stream.name, layout.format, layout.n_features, layout.n_rows, unit="line",
            skip_bad=skip_bad,
        )  # fmt: skip
        self._size = stream.size
        self._windows = open_windows(stream, layout.start, n_threads)
        self._lo = self._hi = 0
        self._n_lines = 1 if layout.n_rows is not None else 0
        self._n_done = 0
        self._n_threads = n_threads
        self._pool = ThreadPoolExecutor(n_threads) if n_threads > 1 else None
        self._check_promise()

    @property
    def position(self) -> int:
        """Bytes of the file on disk that are done."""
        return self._windows.position(self._lo)

    def close(self) -> None:
        """Close the files."""
        self._windows.close()
        if self._pool is not None:
            self._pool.shutdown()

    def read(self, out: npt.NDArray[np.float32]) -> Batch | None:
        """Fill the first rows of `out`; None at the end."""
        while True:
            if self._lo == self._hi and not self._next_window():
                self._check_end()
                return None
            batch = self._parse_window(out)
            if len(batch.lengths):
                self._n_done += len(batch.lengths)
                return batch

    def _check_promise(self) -> None:
        size = self._size
        if self.n_rows is not None and size and self.n_rows * 2 * self.n_features > size:
            fail(
                self.name,
                f"line 1: the header promises {self.n_rows} rows of {self.n_features} dimensions, "
                f"more than a file of {size} bytes can hold; is the file complete?",
            )

    def _check_end(self) -> None:
        n_found = self._n_done + self.n_skipped
        if n_found == 0:
            fail(self.name, "the file holds no rows")
        if self.n_rows is not None and n_found != self.n_rows:
            fail(
                self.name,
                f"line 1: the header promises {self.n_rows} rows, the file holds {n_found}; "
                "is it complete? Correct the header, or read it up to here with limit=",
            )

    def _next_window(self) -> bool:
        found = self._windows.next(self._n_lines + 1)
        if found is not None:
            self._lo, self._hi = found
        return found is not None

    def _parse_window(self, out: npt.NDArray[np.float32]) -> Batch:
        words = np.empty((min(len(out), self._room()), 3), dtype=np.int64)
        parts = self._parts(len(words))
        if len(parts) > 1 and self._pool is not None:
            list(self._pool.map(lambda part: self._parse(part, out, words), parts))
        else:
            self._parse(parts[0], out, words)
        return self._collect(parts, out, words)

    def _room(self) -> int:
        """Rows that the rest of the window can hold at most."""
        return (self._hi - self._lo) // (2 * self.n_features) + 1

    def _parts(self, n_rows: int) -> list[_Part]:
        """Cut the window at newlines, one range per thread, with the rows of each."""
        from embcompress.formats.kernel_words import count_lines

        cuts = [self._lo, self._hi]
        if self._pool is not None and self._hi - self._lo > 1 << 16:
            cuts = self._cuts()
        if len(cuts) > 2 and self._pool is not None:
            ranges = list(itertools.pairwise(cuts))
            counts = list(self._pool.map(lambda r: count_lines(self._windows.buffer, *r), ranges))
            counts[-1] += 1  # the last line may have no newline
            stops = np.cumsum(counts).tolist()
            if stops[-1] <= n_rows:
                starts = [0, *stops[:-1]]
                return [
                    self._part(lo, hi, row, stop)
                    for (lo, hi), row, stop in zip(ranges, starts, stops, strict=True)
                ]
        return [self._part(self._lo, self._hi, 0, n_rows)]

    def _part(self, lo: int, hi: int, row: int, row_stop: int) -> _Part:
        odd = np.empty((max(_ODD_ROOM, self.n_features), 4), dtype=np.int64)
        return _Part(lo, hi, row, row_stop, odd, np.zeros(8, dtype=np.int64))

    def _cuts(self) -> list[int]:
        step = (self._hi - self._lo) // self._n_threads + 1
        cuts = [self._lo]
        for wanted in range(self._lo + step, self._hi, step):
            cut = last_newline(self._windows.buffer, cuts[-1], wanted)
            if cut > cuts[-1]:
                cuts.append(cut)
        return [*cuts, self._hi]

    def _parse(
        self, part: _Part, out: npt.NDArray[np.float32], words: npt.NDArray[np.int64]
    ) -> None:
        from embcompress.formats.kernel import parse_lines

        parse_lines(
            self._windows.buffer, part.lo, part.hi, self.n_features, out.reshape(-1), part.row,
            part.row_stop, words, part.odd, part.state, self.skip_bad,
        )  # fmt: skip

    def _collect(
        self, parts: list[_Part], out: npt.NDArray[np.float32], words: npt.NDArray[np.int64]
    ) -> Batch:
        """Put the parts together, in order; errors of the first bad line come first."""
        used = np.zeros(parts[-1].row_stop, dtype=bool)
        for part in parts:
            next_lo, row, n_lines, n_skipped, n_odd, code = part.state[:6].tolist()
            words[part.row : row, 2] += self._n_lines + 1
            used[part.row : row] = True
            self._convert_odd(out, words, part.odd[:n_odd], used)
            if code:
                self._refuse(part, code, self._n_lines + n_lines + 1)
            self._n_lines += n_lines
            self.n_skipped += n_skipped
            self._lo = next_lo
            if next_lo < part.hi:
                break  # stopped early: the rows are full, or too many odd values
        return self._batch(out, words, used)

    def _batch(
        self,
        out: npt.NDArray[np.float32],
        words: npt.NDArray[np.int64],
        used: npt.NDArray[np.bool_],
    ) -> Batch:
        from embcompress.formats.kernel_words import gather_words

        n = int(np.flatnonzero(used)[-1]) + 1 if used.any() else 0
        words = words[:n]
        words[~used[:n], :2] = 0
        lengths = words[:, 1] - words[:, 0]
        blob = np.empty(int(lengths.sum()), dtype=np.uint8)
        gather_words(self._windows.buffer, words, 0, n, blob)
        batch = Batch(blob, lengths, words[:, 2])
        return batch if used[:n].all() else keep_rows(out, batch, used[:n])

    def _convert_odd(
        self,
        out: npt.NDArray[np.float32],
        words: npt.NDArray[np.int64],
        odd: npt.NDArray[np.int64],
        used: npt.NDArray[np.bool_],
    ) -> None:
        """Let Python convert the values that the kernel could not be sure of."""
        for row, column, start, end in odd.tolist():
            token = self._windows.buffer[start:end].tobytes()
            with np.errstate(over="ignore"):
                value = np.float32(float(token))
            out[row, column] = value
            if np.isfinite(value):
                continue
            if not self.skip_bad:
                self._refuse_number(token, int(words[row, 2]), column)
            self.n_skipped += bool(used[row])
            used[row] = False

    def _refuse(self, part: _Part, code: int, line: int) -> None:
        from embcompress.formats import kernel

        lo = int(part.state[0])
        end = lo + bytes(self._windows.buffer[lo : part.hi]).find(b"\n")
        text = self._windows.buffer[lo : end if end >= lo else part.hi].tobytes()
        d = self.n_features
        if code == kernel.BAD_NUMBER:
            start, stop = part.state[6:8].tolist()
            if self._windows.buffer[lo:start].tobytes().strip():  # otherwise it is the word
                after = len(self._windows.buffer[stop : lo + len(text)].tobytes().split())
                self._refuse_number(self._windows.buffer[start:stop].tobytes(), line, d - 1 - after)
        if code == kernel.EMPTY_WORD:
            self._refuse_line(line, text, f"holds {d} numbers but no word before them")
        if code == kernel.MANY_NUMBERS:
            self._refuse_line(line, text, f"holds more than {d} numbers")
        found = max(len(text.split()) - 1, 0)
        self._refuse_line(line, text, f"holds {found} numbers, {d} expected")

    def _refuse_line(self, line: int, text: bytes, what: str) -> None:
        fail(
            self.name,
            f"line {line} {what}: {shortened(text)}; skip_bad=True drops such rows",
        )

    def _refuse_number(self, token: bytes, line: int, column: int) -> None:
        if NUMBER.fullmatch(token) or token.lower().strip(b"+-") in (b"nan", b"inf", b"infinity"):
            what = "is not a finite float32"
        else:
            what = f"is not a number ({self.n_features} expected after the word)"
        fail(
            self.name,
            f"line {line}: number {column + 1}, {shortened(token)}, {what}; "
            "skip_bad=True drops such rows",
        )
