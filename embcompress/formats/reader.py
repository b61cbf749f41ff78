"""Reading files of vectors: one reader for all formats, whole or in chunks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from embcompress._compiled import tell_about_compiling
from embcompress.formats.base import Batch, RowReader, fail, keep_rows, shortened
from embcompress.formats.words import WordSet, invalid_words
from embcompress.progress import ProgressBar
from embcompress.vectors import Source
from embcompress.vocabulary import Vocabulary

__all__ = ["Chunk", "VectorReader"]

_FIRST_BYTES = 16 << 20
_GENEROSITY = 1.25
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of a file.

    Attributes
    ----------
    words : Vocabulary
        m words.
    vectors : ndarray of float32, shape (m, d)
    counts : ndarray of int64, shape (m,), or None
        Where the file has them.
    """

    words: Vocabulary
    vectors: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64] | None = None


class VectorReader:
    """A file of vectors, open for reading once from front to back.

    Made by :func:`embcompress.formats.open_vectors`; use it as a context manager.

    Attributes
    ----------
    format : str
        What was found: ``"glove"``, ``"word2vec"``, ``"word2vec-bin"``, ``"gensim"``, ``"npz"``
        or ``"npy"``.
    n_features : int
    n_rows : int or None
        Rows that the file promises (with duplicates), None where only reading tells.
    source : Source
        What was read so far; complete after the last chunk.
    """

    def __init__(
        self,
        rows: RowReader,
        path: Path,
        *,
        limit: int | None,
        errors: str,
        progress: bool,
    ) -> None:
        self._rows = rows
        self._n_bytes = path.stat().st_size
        self._limit = _NO_LIMIT if limit is None else limit
        self._errors = errors
        self._words = WordSet()
        self._n_duplicates = 0
        self._started = False
        self._tells_progress = progress
        self._shown = 0
        self._bar = ProgressBar(
            f"Reading {rows.name}", total=self._n_bytes, unit="B", enabled=progress
        )

    def __enter__(self) -> VectorReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VectorReader({self._rows.name!r}, {self.format!r}, n_features={self.n_features})"

    @property
    def format(self) -> str:
        """Format that was found."""
        return self._rows.format

    @property
    def n_features(self) -> int:
        """Number of dimensions."""
        return self._rows.n_features

    @property
    def n_rows(self) -> int | None:
        """Rows that the file promises, None where only reading tells."""
        return self._rows.n_rows

    @property
    def source(self) -> Source:
        """Where the rows come from and what was dropped so far."""
        return Source(
            self._rows.name,
            self.format,
            self._n_bytes,
            self._n_duplicates,
            self._rows.n_skipped,
        )

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def chunks(self, rows: int = 65536) -> Iterator[Chunk]:
        """Read the file in steps.

        Memory holds one chunk, and the words so far to tell duplicates.

        Parameters
        ----------
        rows : int
            Rows per chunk; the last has fewer.

        Yields
        ------
        Chunk
            With arrays of its own.

        Raises
        ------
        FormatError
            If the file is damaged; chunks before the damage have been given out by then.
        ValueError
            If the file was read before, or `rows` is not positive.
        """
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
            raise ValueError(f"rows={rows!r} must be a whole number of at least 1")
        self._start()
        with self._bar:
            while True:
                first = self._words.n
                matrix = np.empty((int(rows), self.n_features), dtype=np.float32)
                n, counts = self._fill(matrix)
                if n:
                    yield Chunk(self._words.vocabulary(first), matrix[:n], counts)
                if n < rows:
                    return

    def read_all(self) -> Chunk:
        """Read the whole file into one matrix."""
        self._start()
        first = max(1, _FIRST_BYTES // (4 * self.n_features))
        matrix = np.empty((min(self._limit, first), self.n_features), dtype=np.float32)
        filled, counts = 0, []
        with self._bar:
            while True:
                n, part = self._fill(matrix[filled:])
                filled += n
                if part is not None:
                    counts.append(part)
                if filled < len(matrix) or filled == self._limit:
                    break
                matrix = self._enlarged(matrix)
        if filled < len(matrix):
            matrix.resize((filled, self.n_features), refcheck=False)  # gives the rest back
        return Chunk(self._words.vocabulary(), matrix, np.concatenate(counts) if counts else None)

    def _start(self) -> None:
        if self._started:
            raise ValueError(f"{self._rows.name}: already read; open it again to read it again")
        self._started = True
        if self._tells_progress:
            kernel = Path(__file__).with_name("kernel.py")  # imported when it is needed
            tell_about_compiling(str(kernel), "parse_lines", "the reader")

    def _enlarged(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Make room for all rows that the file should still hold.

        Memory that is never written costs nothing, so the guess is generous; it follows from the
        part of the file that was read, so that a wrong header does not matter.
        """
        filled = len(matrix)
        guess = int(filled * self._n_bytes / max(self._rows.position, 1) * _GENEROSITY) + 1024
        if self.n_rows is not None and self.n_rows > filled:
            guess = min(guess, self.n_rows)
        larger = np.empty((min(self._limit, max(guess, filled + 1)), self.n_features), np.float32)
        larger[:filled] = matrix
        return larger

    def _fill(self, out: npt.NDArray[np.float32]) -> tuple[int, npt.NDArray[np.int64] | None]:
        """Fill `out` with rows that are kept; fewer only at the end of the file or the limit."""
        filled, counts = 0, []
        while filled < len(out) and self._words.n < self._limit:
            batch = self._rows.read(out[filled:])
            if batch is None:
                break
            batch = self._accept(out[filled:], batch)
            filled += len(batch.lengths)
            if batch.counts is not None:
                counts.append(batch.counts)
            self._advance()
        return filled, np.concatenate(counts) if counts else None

    def _accept(self, out: npt.NDArray[np.float32], batch: Batch) -> Batch:
        """Check the words and drop the rows whose word came before."""
        batch = self._check_words(out, batch)
        offsets = np.zeros(len(batch.lengths) + 1, dtype=np.int64)
        np.cumsum(batch.lengths, out=offsets[1:])
        keep, n_looked_at = self._words.add(batch.blob, offsets, self._limit)
        n_kept = int(np.count_nonzero(keep))
        self._n_duplicates += n_looked_at - n_kept
        if n_kept == len(batch.lengths):
            return batch
        whole = np.zeros(len(batch.lengths), dtype=bool)
        whole[:n_looked_at] = keep
        return keep_rows(out, batch, whole)

    def _check_words(self, out: npt.NDArray[np.float32], batch: Batch) -> Batch:
        if (batch.lengths == 0).any():
            batch = self._drop(
                out, batch, np.flatnonzero(batch.lengths == 0).tolist(), "the word is empty"
            )
        offsets = np.zeros(len(batch.lengths) + 1, dtype=np.int64)
        np.cumsum(batch.lengths, out=offsets[1:])
        invalid = invalid_words(batch.blob, offsets)
        if not invalid:
            return batch
        if self._errors == "strict":
            word = batch.blob[offsets[invalid[0]] : offsets[invalid[0] + 1]].tobytes()
            what = (
                f'the word {shortened(word)} is not valid UTF-8; errors="replace" puts U+FFFD '
                "for the bad bytes"
            )
            return self._drop(out, batch, invalid, what)
        batch = _with_words(batch, _repaired(batch, offsets, invalid, self._errors))
        return self._check_words(out, batch) if (batch.lengths == 0).any() else batch

    def _drop(self, out: npt.NDArray[np.float32], batch: Batch, bad: list[int], what: str) -> Batch:
        """Refuse the first of some bad rows, or drop them all if bad rows are skipped."""
        if not self._rows.skip_bad:
            place = f"{self._rows.unit} {batch.places[bad[0]]}"
            fail(self._rows.name, f"{place}: {what}; skip_bad=True drops such rows")
        self._rows.n_skipped += len(bad)
        keep = np.ones(len(batch.lengths), dtype=bool)
        keep[bad] = False
        return keep_rows(out, batch, keep)

    def _advance(self) -> None:
        position = min(self._rows.position, self._n_bytes)
        self._bar.advance(position - self._shown)
        self._shown = position


def _repaired(
    batch: Batch, offsets: npt.NDArray[np.int64], invalid: list[int], errors: str
) -> list[bytes]:
    data = batch.blob.tobytes()
    words = [data[lo:hi] for lo, hi in itertools.pairwise(offsets)]
    for i in invalid:
        words[i] = words[i].decode("utf-8", errors).encode()
    return words


def _with_words(batch: Batch, words: list[bytes]) -> Batch:
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    blob = np.frombuffer(bytearray(b"".join(words)), dtype=np.uint8)
    return Batch(blob, lengths, batch.places, batch.counts)
